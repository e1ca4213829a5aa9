//! SeaORM.

use anyhow::{Context, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectOptions, Database, IntoActiveModel, QuerySelect, Set, TransactionTrait};

use crate::Task;

mod account {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub balance: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) async fn run(task: &Task) -> Result<()> {
    let mut options = ConnectOptions::new(&task.url);
    options
        .min_connections(task.pool)
        .max_connections(task.pool)
        // As for the others: it is a round trip.
        .test_before_acquire(false)
        .sqlx_logging(false);
    let database = Database::connect(options).await?;
    task.storm(move |row| {
        let database = database.clone();
        async move {
            let transaction = database.begin().await?;
            let account = account::Entity::find_by_id(row)
                .lock_exclusive()
                .one(&transaction)
                .await?
                .context("no such account")?;
            let balance = account.balance;
            let mut account = account.into_active_model();
            account.balance = Set(balance + 1);
            account.update(&transaction).await?;
            transaction.commit().await?;
            Ok(())
        }
    })
    .await
}
