//! What the library tells the race prover about the code that the prover runs on this thread.
//!
//! The prover sees the statements of one connection. A transaction on another connection is work
//! that the prover can't interrupt, so it has to know.
//!
//! Only with the feature `race`, and only on the threads of the prover's players.

#[cfg(feature = "race")]
mod thread {
    use std::cell::{Cell, RefCell};

    type Report = Box<dyn Fn(&'static str)>;

    thread_local! {
        static REPORT: RefCell<Option<Report>> = const { RefCell::new(None) };
        static STATEMENTS: Cell<u64> = const { Cell::new(0) };
    }

    /// Runs `act`, and meanwhile hands to `report` the work that the prover can't see.
    pub(crate) fn with_report<R>(report: Report, act: impl FnOnce() -> R) -> R {
        struct TakeOut;
        impl Drop for TakeOut {
            fn drop(&mut self) {
                REPORT.take();
            }
        }
        // Taken out by a `Drop`: the part may panic, and the thread may be used again.
        REPORT.set(Some(report));
        let _take_out = TakeOut;
        act()
    }

    /// Runs `act`, whose connections are the library's own and change nothing.
    #[cfg(feature = "sqlite")]
    pub(crate) fn aside<R>(act: impl FnOnce() -> R) -> R {
        struct PutBack(Option<Report>);
        impl Drop for PutBack {
            fn drop(&mut self) {
                REPORT.set(self.0.take());
            }
        }
        let _put_back = PutBack(REPORT.take());
        act()
    }

    pub(crate) fn is_player() -> bool {
        REPORT.with_borrow(Option::is_some)
    }

    /// This thread does work that the prover can't see.
    pub(crate) fn unseen(work: &'static str) {
        REPORT.with_borrow(|report| {
            if let Some(report) = report {
                report(work);
            }
        });
    }

    /// The prover has seen one more statement of this thread.
    pub(crate) fn statement_seen() {
        STATEMENTS.set(STATEMENTS.get().wrapping_add(1));
    }

    pub(crate) fn statements_seen() -> u64 {
        STATEMENTS.get()
    }

    /// A call has begun. `before` is [`statements_seen`] from before its first statement.
    pub(crate) fn has_begun(before: u64) {
        if statements_seen() == before {
            unseen("makes a call of this library on another connection");
        }
    }
}

#[cfg(not(feature = "race"))]
mod thread {
    #[cfg(feature = "sqlite")]
    pub(crate) fn aside<R>(act: impl FnOnce() -> R) -> R {
        act()
    }

    pub(crate) const fn is_player() -> bool {
        false
    }

    pub(crate) const fn statements_seen() -> u64 {
        0
    }

    pub(crate) const fn has_begun(_: u64) {}
}

#[cfg(feature = "sqlite")]
pub(crate) use self::thread::aside;
pub(crate) use self::thread::{has_begun, is_player, statements_seen};
#[cfg(feature = "race")]
pub(crate) use self::thread::{statement_seen, unseen, with_report};
