-- MySQL commits every CREATE by itself: IF NOT EXISTS lets a migration that was killed half-way
-- run again. InnoDB, because other engines have no row locks.
CREATE TABLE IF NOT EXISTS accounts (
    id INTEGER PRIMARY KEY AUTO_INCREMENT,
    owner VARCHAR(255) NOT NULL,
    balance BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS journal (
    id BIGINT PRIMARY KEY AUTO_INCREMENT,
    account_id INTEGER NOT NULL,
    amount BIGINT NOT NULL,
    balance_before BIGINT NOT NULL,
    balance_after BIGINT NOT NULL,
    created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB;
