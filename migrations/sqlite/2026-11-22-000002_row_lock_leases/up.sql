-- The leases of diesel-row-lock. Times are microseconds since 1970, by this machine's clock.
CREATE TABLE IF NOT EXISTS row_lock_leases (
    name TEXT NOT NULL COLLATE BINARY PRIMARY KEY,
    -- NULL: nobody holds it. The row stays, for its token.
    owner TEXT,
    note TEXT NOT NULL,
    token BIGINT NOT NULL,
    acquired_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ttl BIGINT NOT NULL
);
-- The last token that was given out; one row.
CREATE TABLE IF NOT EXISTS row_lock_lease_tokens (
    id INTEGER PRIMARY KEY NOT NULL,
    last BIGINT NOT NULL
);
INSERT OR IGNORE INTO row_lock_lease_tokens VALUES (1, 0);
CREATE TABLE IF NOT EXISTS row_lock_overrides (
    id INTEGER PRIMARY KEY NOT NULL,
    name TEXT NOT NULL COLLATE BINARY,
    admin TEXT NOT NULL,
    reason TEXT NOT NULL,
    token BIGINT NOT NULL,
    -- Whom it was taken from, and with which token.
    ousted TEXT,
    ousted_token BIGINT,
    overridden_at BIGINT NOT NULL
);
