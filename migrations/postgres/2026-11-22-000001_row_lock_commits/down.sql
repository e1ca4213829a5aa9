DROP TABLE IF EXISTS row_lock_commits;
