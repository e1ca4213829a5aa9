-- The leases of diesel-row-lock. Times are microseconds since 1970, by this server's clock.
CREATE TABLE IF NOT EXISTS row_lock_leases (
    name TEXT COLLATE "C" PRIMARY KEY,
    -- NULL: nobody holds it. The row stays, for its token.
    owner TEXT,
    note TEXT NOT NULL,
    token BIGINT NOT NULL,
    acquired_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ttl BIGINT NOT NULL,
    -- Whom the last override has taken it from, and with which token.
    ousted TEXT,
    ousted_token BIGINT
);
CREATE SEQUENCE IF NOT EXISTS row_lock_lease_tokens;
CREATE TABLE IF NOT EXISTS row_lock_overrides (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    admin TEXT NOT NULL,
    reason TEXT NOT NULL,
    token BIGINT NOT NULL,
    ousted TEXT,
    ousted_token BIGINT,
    overridden_at BIGINT NOT NULL
);
