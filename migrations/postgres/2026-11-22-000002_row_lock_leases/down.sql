DROP TABLE row_lock_overrides;
DROP TABLE row_lock_leases;
DROP SEQUENCE row_lock_lease_tokens;
