-- The commit tokens of diesel-row-lock.
CREATE TABLE IF NOT EXISTS row_lock_commits (
    token VARCHAR(32) PRIMARY KEY,
    -- Inserted by a resolver: the transaction of this token did not commit and never can.
    refused BOOLEAN NOT NULL DEFAULT FALSE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS row_lock_commits_created_at ON row_lock_commits (created_at);
