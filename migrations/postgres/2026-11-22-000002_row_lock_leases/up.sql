-- The leases of diesel-row-lock. Times are microseconds since 1970, by this server's clock.
-- Sessions that create the tables at the same time take turns: CREATE TABLE IF NOT EXISTS alone
-- fails (pg_type_typname_nsp_index) where another session has the table in an open transaction.
SELECT pg_advisory_xact_lock(7230481953606112754);
CREATE TABLE IF NOT EXISTS row_lock_leases (
    name TEXT COLLATE "C" PRIMARY KEY,
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
    id INTEGER PRIMARY KEY,
    token BIGINT NOT NULL
);
INSERT INTO row_lock_lease_floor VALUES (1, 0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS row_lock_overrides (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    admin TEXT NOT NULL,
    reason TEXT NOT NULL,
    token BIGINT NOT NULL,
    -- The holder that the lease was taken from, and its token.
    ousted TEXT,
    ousted_token BIGINT,
    overridden_at BIGINT NOT NULL
);
