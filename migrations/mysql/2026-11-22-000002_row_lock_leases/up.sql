-- The leases of diesel-row-lock. Times are microseconds since 1970, by this server's clock.
CREATE TABLE IF NOT EXISTS row_lock_leases (
    -- Bytes: most collations hold 'a', 'A' and 'a ' for the same.
    name VARBINARY(255) PRIMARY KEY,
    -- NULL: the lease is free. The row stays, for its token.
    owner VARCHAR(255),
    note TEXT NOT NULL,
    token BIGINT NOT NULL,
    -- Random for each holder: after a restore from a backup a token can occur twice.
    nonce BIGINT NOT NULL,
    acquired_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ttl BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4;
-- One row: the highest token of the leases that were purged. Later tokens are higher.
CREATE TABLE IF NOT EXISTS row_lock_lease_floor (
    id TINYINT PRIMARY KEY,
    token BIGINT NOT NULL
) ENGINE = InnoDB;
INSERT IGNORE INTO row_lock_lease_floor VALUES (1, 0);
CREATE TABLE IF NOT EXISTS row_lock_overrides (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    name VARBINARY(255) NOT NULL,
    admin VARCHAR(255) NOT NULL,
    reason TEXT NOT NULL,
    token BIGINT NOT NULL,
    -- The holder that the lease was taken from, and its token.
    ousted VARCHAR(255),
    ousted_token BIGINT,
    overridden_at BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4;
