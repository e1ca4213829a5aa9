//! Databases on servers, which the environment names.

use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, process};

use diesel::connection::{Connection, SimpleConnection};

use super::program::Bank;

#[cfg(feature = "postgres")]
pub(super) fn postgres() -> Bank {
    // Not `template1`, where somebody else may be connected.
    create::<diesel::PgConnection>("PG_URL", "TEMPLATE template0", "WITH (FORCE)")
}

#[cfg(feature = "mysql")]
pub(super) fn mysql() -> Bank {
    create::<diesel::MysqlConnection>("MYSQL_URL", "", "")
}

#[cfg(feature = "mysql")]
pub(super) fn mariadb() -> Bank {
    create::<diesel::MysqlConnection>("MARIADB_URL", "", "")
}

struct Database {
    drop: Box<dyn Fn() + Send + Sync>,
}

impl Drop for Database {
    fn drop(&mut self) {
        (self.drop)();
    }
}

fn create<C: Connection>(variable: &str, how: &str, drop_how: &'static str) -> Bank {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = env::var(variable) else {
        panic!("{variable} must be the URL of a server on which databases can be created");
    };
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bank_{}_{next}", process::id());
    execute::<C>(&url, &format!("CREATE DATABASE {name} {how}"));
    Bank {
        url: in_database(&url, &name),
        owner: Box::new(Database {
            drop: Box::new(move || {
                execute::<C>(&url, &format!("DROP DATABASE {name} {drop_how}"));
            }),
        }),
    }
}

fn execute<C: Connection>(url: &str, sql: &str) {
    let mut conn = C::establish(url).expect("the server answers");
    SimpleConnection::batch_execute(&mut conn, sql).expect("may create and drop databases");
}

/// The URL with another database.
fn in_database(url: &str, name: &str) -> String {
    let (address, options) = match url.split_once('?') {
        Some((address, options)) => (address, format!("?{options}")),
        None => (url, String::new()),
    };
    let start = address.find("://").expect("a URL with a scheme") + "://".len();
    let end = address[start..]
        .find('/')
        .map_or(address.len(), |slash| start + slash);
    format!("{}/{name}{options}", &address[..end])
}
