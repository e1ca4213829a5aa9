DROP TABLE journal;
DROP TABLE accounts;
