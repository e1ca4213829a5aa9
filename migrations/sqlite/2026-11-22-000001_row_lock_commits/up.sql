-- The commit tokens of diesel-row-lock.
CREATE TABLE IF NOT EXISTS row_lock_commits (
    token TEXT NOT NULL PRIMARY KEY,
    -- Inserted by a resolver: the transaction of this token did not commit and never can.
    refused BOOLEAN NOT NULL DEFAULT FALSE,
    -- Seconds since 1970.
    created_at BIGINT NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
);
CREATE INDEX IF NOT EXISTS row_lock_commits_created_at ON row_lock_commits (created_at);
