//! Takes out locking clauses, and conditions that a row is unchanged, so that a test sees the race
//! that they prevent.
//!
//! Only with the feature `race`, and only for code that the race prover runs.

#[cfg(feature = "race")]
mod flag {
    use std::cell::Cell;

    thread_local! {
        static TAKEN_OUT: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn are_locks_taken_out() -> bool {
        TAKEN_OUT.get()
    }

    /// Runs `act` without the locking clauses and the stamp conditions of this thread.
    pub(crate) fn without_locks<R>(act: impl FnOnce() -> R) -> R {
        struct PutBack;
        impl Drop for PutBack {
            fn drop(&mut self) {
                TAKEN_OUT.set(false);
            }
        }
        // Put back by a `Drop`: the operation under test may panic.
        TAKEN_OUT.set(true);
        let _put_back = PutBack;
        act()
    }
}

#[cfg(feature = "race")]
pub(crate) use self::flag::{are_locks_taken_out, without_locks};

#[cfg(not(feature = "race"))]
pub(crate) const fn are_locks_taken_out() -> bool {
    false
}
