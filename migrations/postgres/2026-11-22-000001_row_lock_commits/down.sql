DROP TABLE row_lock_commits;
