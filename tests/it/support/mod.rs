//! What the laws stand on: a database of its own for each test, on a real server, and a way to ask
//! that server who waits.
//!
//! The attribute `law` takes `Db` and `Conn` from the module with the backend's name.

use std::time::{Duration, Instant};

#[cfg(feature = "mysql")]
pub(crate) mod mariadb;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "mysql")]
mod mysql_family;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod sqlite;

pub(crate) mod calls;
pub(crate) mod child;
pub(crate) mod example;
pub(crate) mod probe;
pub(crate) mod schema;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) mod wire;

/// What is the same for each `Db`, but for its connection's type.
macro_rules! shared_methods {
    () => {
        /// What a plain look at the balance shows from a fresh connection.
        pub(crate) fn balance(&self, id: i32) -> i64 {
            use crate::support::schema::accounts;
            accounts::table
                .find(id)
                .select(accounts::balance)
                .first(&mut self.connect())
                .unwrap()
        }

        /// Starts a process that plays a part on this database.
        pub(crate) fn play(
            &self,
            part: &str,
            told: &[(&str, String)],
        ) -> crate::support::child::Child {
            let part = format!("{part}::{}", Self::STAMP);
            crate::support::child::Child::play(&part, &self.url(), told)
        }

        pub(crate) fn wait_for_waiters(&self, number: i64) {
            crate::support::wait_until("others wait", Self::PAUSE, || self.waiters() == number);
        }
    };
}
pub(crate) use shared_methods;

/// The schema or file name of a test: short enough for every server.
fn database_name(law: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    law.hash(&mut hasher);
    format!("law_{}_{:016x}", std::process::id(), hasher.finish())
}

fn server_url(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, which starts the servers")
    })
}

/// The `host:port` of a URL.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn server_of(url: &str) -> String {
    let (_, rest) = url.split_once("//").expect("a URL");
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority).to_owned()
}

/// Asks again and again until the answer is yes. A wait without end is a failure that says what
/// was waited for.
pub(crate) fn wait_until(what: &str, pause: Duration, mut answer: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !answer() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::park_timeout(pause);
    }
}
