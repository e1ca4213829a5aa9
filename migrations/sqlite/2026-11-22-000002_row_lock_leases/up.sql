-- The leases of diesel-row-lock. Times are microseconds since 1970, by this machine's clock.
CREATE TABLE IF NOT EXISTS row_lock_leases (
    name TEXT NOT NULL COLLATE BINARY PRIMARY KEY,
    -- NULL: the lease is free. The row stays, for its token.
    owner TEXT,
    note TEXT NOT NULL,
    token BIGINT NOT NULL,
    -- Random for each holder: after a restore from a backup a token can occur twice.
    nonce BIGINT NOT NULL,
    acquired_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ttl BIGINT NOT NULL
);
-- One row: the highest token of the leases that were purged. Later tokens are higher.
CREATE TABLE IF NOT EXISTS row_lock_lease_floor (
    id INTEGER PRIMARY KEY NOT NULL,
    token BIGINT NOT NULL
);
INSERT OR IGNORE INTO row_lock_lease_floor VALUES (1, 0);
CREATE TABLE IF NOT EXISTS row_lock_overrides (
    id INTEGER PRIMARY KEY NOT NULL,
    name TEXT NOT NULL COLLATE BINARY,
    admin TEXT NOT NULL,
    reason TEXT NOT NULL,
    token BIGINT NOT NULL,
    -- The holder that the lease was taken from, and its token.
    ousted TEXT,
    ousted_token BIGINT,
    overridden_at BIGINT NOT NULL
);
