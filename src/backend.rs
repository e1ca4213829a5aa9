//! [`LockBackend`]: what `transaction.rs` asks of a backend, in no backend's words.

use std::borrow::Cow;
use std::time::Duration;

use diesel::connection::LoadConnection;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use crate::error::LockError;
use crate::lease::backend::LeaseBackend;
use crate::transaction::backend::TransactionBackend;

/// Name of the savepoint (on PostgreSQL the cursor) that lives and dies with the outermost
/// transaction. An error that names it means that the transaction ended before its time, in
/// whatever language the rest of the message is.
pub(crate) const GUARD: &str = "row_lock_guard";

/// How long a request waits for its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// As long as the session allows.
    Session,
    /// Not at all.
    Never,
    /// Not at all, and rows that are locked are left out.
    Skip,
    /// This long; never zero.
    AtMost(Duration),
}

/// What a request asks of the session's settings.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub(crate) waiting: Waiting,
    /// How long the lock may be held.
    pub(crate) hold: Option<Duration>,
}

impl Settings {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        waiting: Waiting::Session,
        hold: None,
    };
}

/// What a database error means, in no backend's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Busy,
    Timeout,
    Deadlock,
    SerializationFailure,
    StatementTimeout,
    Cancelled,
    Aborted,
    ConnectionLost,
}

impl Cause {
    /// The error of this cause. While a lock is acquired without waiting, a timeout means busy:
    /// MariaDB answers `NOWAIT` with the same error as a timeout, SQLite with the same as always.
    pub(crate) fn into_error(self, source: DieselError, waiting: Waiting) -> LockError {
        match self {
            Self::Timeout if waiting == Waiting::Never => LockError::Busy { source },
            Self::Busy => LockError::Busy { source },
            Self::Timeout => LockError::Timeout {
                source,
                blocker: None,
            },
            Self::Deadlock => LockError::Deadlock { source },
            Self::SerializationFailure => LockError::SerializationFailure { source },
            Self::StatementTimeout => LockError::StatementTimeout { source },
            Self::Cancelled => LockError::Cancelled { source },
            Self::Aborted => LockError::Aborted {
                source: Some(source),
            },
            Self::ConnectionLost => LockError::ConnectionLost { source },
        }
    }
}

/// Messages of a server and what they mean; the first that fits counts. As in SQL's `LIKE`, each
/// `%` stands for anything, and what is not covered by one is there to the letter.
pub(crate) type Messages = &'static [(&'static str, Cause)];

/// Messages in several languages, each with its name.
pub(crate) type Translations = &'static [(&'static str, Messages)];

/// A backend whose rows can be locked: PostgreSQL, MySQL and MariaDB, SQLite.
///
/// It can't be implemented outside of this crate.
pub trait LockBackend: LeaseBackend + TransactionBackend {
    /// What it is called in the [telemetry](crate::telemetry): `db.system.name` of OpenTelemetry.
    #[doc(hidden)]
    const SYSTEM: &'static str;

    /// How many callers of one row have a connection at once: one that holds the row, and one that
    /// waits for it where the lock is, if to wait there is not to ask again and again.
    #[doc(hidden)]
    const CONNECTIONS_PER_ROW: usize;

    /// Creates the table of the commit tokens.
    #[doc(hidden)]
    const CREATE_COMMITS: &'static str;

    /// The time of the server's clock so long ago, as `row_lock_commits.created_at` has it.
    #[doc(hidden)]
    fn seconds_ago(seconds: u32) -> String;

    /// What stands before the list of row values in `(a, b) IN (…)`.
    #[doc(hidden)]
    const ROW_VALUES: &'static str;

    /// How many values one statement can bind.
    #[doc(hidden)]
    const BINDS: usize;

    /// What stands in a locking clause behind the strength, with a blank before it.
    #[doc(hidden)]
    fn wait_sql(waiting: Waiting) -> Cow<'static, str>;

    /// Whether a lock can be had inside the transaction that is open, which this crate may not
    /// have opened.
    #[doc(hidden)]
    fn check_outer<C>(conn: &mut C) -> Result<(), LockError>
    where
        C: LoadConnection<Backend = Self>,
    {
        let _ = conn;
        Ok(())
    }

    /// A statement has failed, and its connection is to be used again.
    #[doc(hidden)]
    fn forget_statements<C>(conn: &mut C)
    where
        C: LoadConnection<Backend = Self>,
    {
        let _ = conn;
    }

    /// What the server says by this message that it does not have.
    #[doc(hidden)]
    fn lacks(message: &str) -> Option<&'static str> {
        let _ = message;
        None
    }

    /// How the message begins by which the server refuses to begin a transaction in one that SQL
    /// of the user's own has opened.
    #[doc(hidden)]
    const ALREADY_OPEN: Option<&'static str> = None;

    /// What an error means that is told in English.
    #[doc(hidden)]
    const ENGLISH: Messages;

    /// What an error means that is told in another language of the server's.
    #[doc(hidden)]
    const TRANSLATIONS: Translations = &[];

    /// What is known of an error in every language: by Diesel's kind, by what is not translated.
    #[doc(hidden)]
    fn classify_untranslated(
        kind: &DatabaseErrorKind,
        info: &dyn DatabaseErrorInformation,
    ) -> Option<Cause>;
}

/// Whether a `BEGIN` was refused because of [`LockBackend::ALREADY_OPEN`].
pub(crate) fn is_already_open<B: LockBackend>(error: &DieselError) -> bool {
    match (error, B::ALREADY_OPEN) {
        (DieselError::DatabaseError(_, info), Some(begin)) => info.message().starts_with(begin),
        _ => false,
    }
}

/// The error of a `BEGIN`.
pub(crate) fn not_begun<B: LockBackend>(error: DieselError, waiting: Waiting) -> LockError {
    if is_already_open::<B>(&error) {
        return LockError::AlreadyInTransaction {
            reason: "a transaction that Diesel does not know of is open on this connection",
        };
    }
    unsupported::<B>(error, waiting)
}

/// The error of a statement that asked for what not every server of the backend has.
pub(crate) fn unsupported<B: LockBackend>(error: DieselError, waiting: Waiting) -> LockError {
    let lacks = match &error {
        DieselError::DatabaseError(_, info) => B::lacks(info.message()),
        _ => None,
    };
    match lacks {
        Some(what) => LockError::Unsupported {
            what: what.to_owned(),
            source: Some(error),
        },
        None => classify::<B>(error, waiting),
    }
}

/// What an error of this backend means.
pub(crate) fn cause_in<B: LockBackend>(error: &DieselError) -> Option<Cause> {
    look_up(error, &[Words::of::<B>()])
}

/// Whether it is an answer of the server, or of what stands before it, that names this.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn names(error: &DieselError, what: &str) -> bool {
    matches!(error, DieselError::DatabaseError(_, info) if info.message().contains(what))
}

/// The error of a statement that ran while locks were acquired or the transaction committed.
pub(crate) fn classify<B: LockBackend>(error: DieselError, waiting: Waiting) -> LockError {
    match cause_in::<B>(&error) {
        Some(cause) => cause.into_error(error, waiting),
        None => error.into(),
    }
}

/// What an error means of which not even the backend is known. The messages of all backends that
/// are compiled in come first: no error is found in two of them with two meanings.
pub(crate) fn cause_of(error: &DieselError) -> Option<Cause> {
    look_up(
        error,
        &[
            #[cfg(feature = "postgres")]
            Words::of::<diesel::pg::Pg>(),
            #[cfg(feature = "mysql")]
            Words::of::<diesel::mysql::Mysql>(),
            #[cfg(feature = "sqlite")]
            Words::of::<diesel::sqlite::Sqlite>(),
        ],
    )
}

/// What a backend makes of errors, without its type.
struct Words {
    english: Messages,
    translations: Translations,
    untranslated: fn(&DatabaseErrorKind, &dyn DatabaseErrorInformation) -> Option<Cause>,
}

impl Words {
    fn of<B: LockBackend>() -> Self {
        Self {
            english: B::ENGLISH,
            translations: B::TRANSLATIONS,
            untranslated: B::classify_untranslated,
        }
    }

    fn messages(&self) -> impl Iterator<Item = &'static (&'static str, Cause)> {
        let translated = self.translations.iter().flat_map(|(_, rows)| *rows);
        self.english.iter().chain(translated)
    }
}

fn look_up(error: &DieselError, backends: &[Words]) -> Option<Cause> {
    let DieselError::DatabaseError(kind, info) = error else {
        return None;
    };
    if matches!(kind, DatabaseErrorKind::ClosedConnection) {
        return Some(Cause::ConnectionLost);
    }
    let mut rows = backends.iter().flat_map(Words::messages);
    rows.find(|(pattern, _)| is_like(info.message(), pattern))
        .map(|&(_, cause)| cause)
        .or_else(|| {
            let mut backends = backends.iter();
            backends.find_map(|words| (words.untranslated)(kind, &**info))
        })
}

/// See [`Messages`].
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('%') else {
        return text == pattern;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('%').unwrap_or(("", rest));
    for part in middle.split('%') {
        match text.split_once(part) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    text.ends_with(end)
}

#[cfg(all(test, any(feature = "postgres", feature = "mysql")))]
mod tests;
