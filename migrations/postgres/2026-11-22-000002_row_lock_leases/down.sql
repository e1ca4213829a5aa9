DROP TABLE IF EXISTS row_lock_overrides;
DROP TABLE IF EXISTS row_lock_leases;
DROP TABLE IF EXISTS row_lock_lease_floor;
