//! How long a lock may be held, as a type: what a backend can't limit does not compile there.

use std::time::Duration;

use crate::backend::LockBackend;

/// The lock may be held as long as the closure takes. The default.
#[derive(Debug, Clone, Copy)]
pub struct Unlimited;

/// The lock may be held this long.
#[derive(Debug, Clone, Copy)]
pub struct HoldAtMost(pub(crate) Duration);

/// A limit to the time that a lock is held.
pub trait Hold: Copy {
    /// The same as a value.
    #[doc(hidden)]
    fn limit(&self) -> Option<Duration>;
}

impl Hold for Unlimited {
    fn limit(&self) -> Option<Duration> {
        None
    }
}

impl Hold for HoldAtMost {
    fn limit(&self) -> Option<Duration> {
        Some(self.0)
    }
}

/// A limit to the time that a lock is held, which the backend `DB` has.
#[diagnostic::on_unimplemented(
    message = "`{DB}` can't limit how long a lock is held",
    note = "`.hold_at_most(d)` is for PostgreSQL, MySQL and MariaDB; \
            SQLite has no server that could end a transaction"
)]
pub trait LockHold<DB>: Hold {}

impl<DB: LockBackend> LockHold<DB> for Unlimited {}
