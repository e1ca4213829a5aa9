//! [`Cause`]: what a database error means.
//!
//! Diesel keeps neither SQLSTATE nor error number. So a table of messages for each backend decides,
//! and where it has no row, the part of the error that the server does not translate.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

/// What a database error means, the same for all backends.
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

/// Messages of a server and what they mean; the first that fits counts. As in SQL's `LIKE`, each
/// `%` stands for anything, and what is not covered by one is there to the letter.
pub(crate) type Messages = &'static [(&'static str, Cause)];

/// Messages in several languages, each with its name.
pub(crate) type Translations = &'static [(&'static str, Messages)];

/// How a backend's errors are read. Part of [`LockBackend`](crate::bounds::LockBackend).
pub trait ErrorBackend {
    /// The meaning of each error message in English.
    #[doc(hidden)]
    const ENGLISH: Messages;

    /// The same in the server's other languages.
    #[doc(hidden)]
    const TRANSLATIONS: Translations = &[];

    /// What is known of an error in every language: by Diesel's kind, by what is not translated.
    #[doc(hidden)]
    fn classify_untranslated(
        kind: &DatabaseErrorKind,
        info: &dyn DatabaseErrorInformation,
    ) -> Option<Cause>;

    /// How the message begins by which the server refuses to begin a transaction in one that SQL
    /// of the user's own has opened.
    #[doc(hidden)]
    const ALREADY_OPEN: Option<&'static str> = None;

    /// What the server says by this message that it does not have.
    #[doc(hidden)]
    fn lacks(message: &str) -> Option<&'static str> {
        let _ = message;
        None
    }
}

/// What an error of this backend means.
pub(crate) fn cause_in<B: ErrorBackend>(error: &DieselError) -> Option<Cause> {
    look_up(error, &[Words::of::<B>()])
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

/// Whether it is an answer of the server, or of what stands before it, that names this.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn names(error: &DieselError, what: &str) -> bool {
    matches!(error, DieselError::DatabaseError(_, info) if info.message().contains(what))
}

/// What a backend makes of errors, without its type.
struct Words {
    english: Messages,
    translations: Translations,
    untranslated: fn(&DatabaseErrorKind, &dyn DatabaseErrorInformation) -> Option<Cause>,
}

impl Words {
    fn of<B: ErrorBackend>() -> Self {
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
    // Diesel sets this kind by the state of the connection, whatever the text says.
    if matches!(kind, DatabaseErrorKind::ClosedConnection) {
        return Some(Cause::ConnectionLost);
    }
    // The texts come before the kinds: a text is of one server, and a kind is shared by errors of
    // different causes.
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
