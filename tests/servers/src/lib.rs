//! Throw-away database servers: each with a folder of its own under `/tmp`, on loopback, ended and
//! removed when its value is dropped, or when the process that started it is gone.
//!
//! They are there to be killed: a server that is killed keeps its data and its port, and is started
//! again.

mod cache;
mod clock;
mod home;
mod interrupt;
mod place;
mod ports;
mod process;
mod spawner;
mod unpacked;

pub mod mysql;
pub mod postgres;
pub mod releases;

pub use nix::sys::signal::Signal;

pub use self::cache::cache;
pub use self::clock::Clock;
pub use self::interrupt::interrupted_by;
pub use self::mysql::{Galera, MariaDb, MySql};
pub use self::place::Place;
pub use self::postgres::{PgBouncer, Postgres};
