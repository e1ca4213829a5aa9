DROP TABLE row_lock_overrides;
DROP TABLE row_lock_leases;
DROP TABLE row_lock_lease_floor;
