-- The commit tokens of diesel-row-lock.
-- Sessions that create the tables at the same time take turns: CREATE TABLE IF NOT EXISTS alone
-- fails (pg_type_typname_nsp_index) where another session has the table in an open transaction.
SELECT pg_advisory_xact_lock(7230481953606112754);
CREATE TABLE IF NOT EXISTS row_lock_commits (
    token VARCHAR(32) PRIMARY KEY,
    -- Inserted by a resolver: the transaction of this token did not commit and never can.
    refused BOOLEAN NOT NULL DEFAULT FALSE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS row_lock_commits_created_at ON row_lock_commits (created_at);
