\set id random(1, :rows)
BEGIN;
SELECT balance FROM accounts WHERE id = :id FOR UPDATE \gset
UPDATE accounts SET balance = :balance + 1 WHERE id = :id;
COMMIT;
