//! sqlx.

use anyhow::Result;
use sqlx::postgres::PgPoolOptions;

use crate::Task;

pub(crate) async fn run(task: &Task) -> Result<()> {
    let pool = PgPoolOptions::new()
        .min_connections(task.pool)
        .max_connections(task.pool)
        // As for the others: it is a round trip.
        .test_before_acquire(false)
        .connect(&task.url)
        .await?;
    task.storm(move |row| {
        let pool = pool.clone();
        async move {
            let mut transaction = pool.begin().await?;
            let balance: i64 =
                sqlx::query_scalar("SELECT balance FROM accounts WHERE id = $1 FOR UPDATE")
                    .bind(row)
                    .fetch_one(&mut *transaction)
                    .await?;
            sqlx::query("UPDATE accounts SET balance = $1 WHERE id = $2")
                .bind(balance + 1)
                .bind(row)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        }
    })
    .await
}
