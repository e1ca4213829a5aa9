//! The SQL of each option on each backend, letter by letter.

use std::time::Duration;

use diesel::debug_query;

use diesel::query_builder::AsQuery;

use super::by_key::SelectByKeys;
use crate::bounds::LockOn;
use crate::RowLock;

diesel::table! {
    accounts (id) {
        id -> Integer,
    }
}

diesel::table! {
    bank.safes (id) {
        id -> Integer,
    }
}

diesel::table! {
    seats (hall, number) {
        hall -> Text,
        number -> Integer,
    }
}

/// The text of `lock` around `query`, without the list of binds.
macro_rules! sql {
    ($backend:ty, $lock:expr, $query:expr) => {{
        let select = LockOn::<$backend>::select(&$lock, AsQuery::as_query($query));
        let text = debug_query::<$backend, _>(&select).to_string();
        let (sql, _binds) = text.split_once(" -- binds").expect("Diesel's form");
        sql.to_owned()
    }};
}

/// What stands behind a plain `SELECT`.
macro_rules! clause {
    ($backend:ty, $lock:expr) => {
        sql!($backend, $lock, accounts::table)
            .split_once('\n')
            .map_or(String::new(), |(_, clause)| clause.to_owned())
    };
}

const SHORT: Duration = Duration::from_micros(1);

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::options::Of;
    use diesel::pg::Pg;

    #[test]
    fn strengths_and_waits() {
        assert_eq!(clause!(Pg, RowLock::for_update()), "FOR UPDATE");
        assert_eq!(
            clause!(Pg, RowLock::for_no_key_update()),
            "FOR NO KEY UPDATE"
        );
        assert_eq!(clause!(Pg, RowLock::for_share()), "FOR SHARE");
        assert_eq!(clause!(Pg, RowLock::for_key_share()), "FOR KEY SHARE");
        assert_eq!(
            clause!(Pg, RowLock::for_update().no_wait()),
            "FOR UPDATE NOWAIT"
        );
        assert_eq!(
            clause!(Pg, RowLock::for_share().skip_locked()),
            "FOR SHARE SKIP LOCKED"
        );
        assert_eq!(
            clause!(Pg, RowLock::for_update().timeout(SHORT)),
            "FOR UPDATE"
        );
        let zero = RowLock::for_update().timeout(Duration::ZERO);
        assert_eq!(clause!(Pg, zero), "FOR UPDATE NOWAIT");
    }

    #[test]
    fn of_names_the_table_without_its_schema_or_by_its_alias() {
        let lock = RowLock::for_update().of(accounts::table).no_wait();
        assert_eq!(clause!(Pg, lock), r#"FOR UPDATE OF "accounts" NOWAIT"#);
        let lock = RowLock::for_update().of(safes::table);
        assert_eq!(clause!(Pg, lock), r#"FOR UPDATE OF "safes""#);
        let lock: RowLock<_, _, Of<_>> = RowLock::for_update().of(diesel::alias!(accounts as mine));
        assert_eq!(clause!(Pg, lock), r#"FOR UPDATE OF "mine""#);
    }

    #[test]
    fn keys_are_ordered_by_the_database() {
        let keys = SelectByKeys::new(accounts::table, &[2, 1]);
        assert_eq!(
            sql!(Pg, RowLock::for_update(), keys),
            "SELECT \"accounts\".\"id\" FROM \"accounts\" \
             WHERE \"accounts\".\"id\" IN ($1, $2) \
             ORDER BY \"accounts\".\"id\"\nFOR UPDATE"
        );
        let keys = [("blue".to_owned(), 2), ("red".to_owned(), 1)];
        let keys = SelectByKeys::new(seats::table, &keys);
        assert_eq!(
            sql!(Pg, RowLock::for_update(), keys),
            "SELECT \"seats\".\"hall\", \"seats\".\"number\" FROM \"seats\" \
             WHERE (\"seats\".\"hall\", \"seats\".\"number\") IN (($1, $2), ($3, $4)) \
             ORDER BY \"seats\".\"hall\", \"seats\".\"number\"\nFOR UPDATE"
        );
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::*;
    use diesel::mysql::Mysql;

    #[test]
    fn strengths_and_waits() {
        assert_eq!(clause!(Mysql, RowLock::for_update()), "FOR UPDATE");
        assert_eq!(clause!(Mysql, RowLock::for_share()), "LOCK IN SHARE MODE");
        assert_eq!(
            clause!(Mysql, RowLock::for_update().no_wait()),
            "FOR UPDATE NOWAIT"
        );
        assert_eq!(
            clause!(Mysql, RowLock::for_update().skip_locked()),
            "FOR UPDATE SKIP LOCKED"
        );
        assert_eq!(
            clause!(Mysql, RowLock::for_share().no_wait()),
            "/*M! LOCK IN SHARE MODE */ /*!80001 FOR SHARE */ NOWAIT"
        );
        let zero = RowLock::for_update().timeout(Duration::ZERO);
        assert_eq!(clause!(Mysql, zero), "FOR UPDATE NOWAIT");
    }

    #[test]
    fn timeouts_are_whole_seconds_for_mariadb_only() {
        assert_eq!(
            clause!(Mysql, RowLock::for_update().timeout(SHORT)),
            "FOR UPDATE /*M! WAIT 1 */"
        );
        assert_eq!(
            clause!(
                Mysql,
                RowLock::for_update().timeout(Duration::from_millis(2_001))
            ),
            "FOR UPDATE /*M! WAIT 3 */"
        );
        assert_eq!(
            clause!(Mysql, RowLock::for_update().timeout(Duration::MAX)),
            "FOR UPDATE /*M! WAIT 31536000 */"
        );
    }

    #[test]
    fn of_names_the_table_without_its_schema() {
        let lock = RowLock::for_update().of(safes::table);
        assert_eq!(clause!(Mysql, lock), "FOR UPDATE OF `safes`");
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use diesel::sqlite::Sqlite;

    #[test]
    fn there_is_no_clause() {
        assert_eq!(clause!(Sqlite, RowLock::for_update()), "");
        assert_eq!(clause!(Sqlite, RowLock::for_update().no_wait()), "");
        assert_eq!(clause!(Sqlite, RowLock::for_update().timeout(SHORT)), "");
    }

    #[test]
    fn composite_keys_are_row_values() {
        let keys = [("blue".to_owned(), 2)];
        let keys = SelectByKeys::new(seats::table, &keys);
        assert_eq!(
            sql!(Sqlite, RowLock::for_update(), keys),
            "SELECT `seats`.`hall`, `seats`.`number` FROM `seats` \
             WHERE (`seats`.`hall`, `seats`.`number`) IN (VALUES (?, ?)) \
             ORDER BY `seats`.`hall`, `seats`.`number`"
        );
    }
}
