-- The commit tokens of diesel-row-lock.
CREATE TABLE IF NOT EXISTS row_lock_commits (
    token CHAR(32) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
    -- Inserted by a resolver: the transaction of this token did not commit and never can.
    refused BOOLEAN NOT NULL DEFAULT FALSE,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    INDEX row_lock_commits_created_at (created_at)
) ENGINE = InnoDB;
