//! The servers' own catalogues against the tables of messages.

use super::*;

/// A line of a `catalogue.tsv`: a text of a server, in its language, and what it means.
struct Line {
    language: &'static str,
    cause: Option<Cause>,
    text: String,
}

fn lines(catalogue: &'static str) -> impl Iterator<Item = Line> {
    let lines = catalogue.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("three fields");
        let language = next();
        let cause = match next() {
            "Busy" => Some(Cause::Busy),
            "Timeout" => Some(Cause::Timeout),
            "Deadlock" => Some(Cause::Deadlock),
            "SerializationFailure" => Some(Cause::SerializationFailure),
            "StatementTimeout" => Some(Cause::StatementTimeout),
            "Cancelled" => Some(Cause::Cancelled),
            "Aborted" => Some(Cause::Aborted),
            "ConnectionLost" => Some(Cause::ConnectionLost),
            "-" => None,
            other => panic!("no cause: {other}"),
        };
        let text = next().replace("\\n", "\n");
        Line {
            language,
            cause,
            text,
        }
    })
}

fn error(kind: DatabaseErrorKind, text: &str) -> DieselError {
    DieselError::DatabaseError(kind, Box::new(text.to_owned()))
}

/// Every text is found where nothing is known of the backend; with the translations taken out
/// none is, so it is they that find it.
fn each_text_has_its_cause<B: ErrorBackend>(
    catalogue: &'static str,
    kind_of: fn(Cause) -> DatabaseErrorKind,
) {
    let mut wrong = Vec::new();
    for line in lines(catalogue) {
        let kind = || line.cause.map_or(DatabaseErrorKind::Unknown, kind_of);
        let by_kind = !matches!(kind(), DatabaseErrorKind::Unknown);
        let found = cause_of(&error(kind(), &line.text));
        if found != line.cause {
            wrong.push(format!("{found:?}: {} {}", line.language, line.text));
        }
        // Diesel's kind is not the same for all statements, so the text alone must not mislead.
        let found = cause_of(&error(DatabaseErrorKind::Unknown, &line.text));
        if found != line.cause && !(by_kind && found.is_none()) {
            wrong.push(format!(
                "{found:?} by text: {} {}",
                line.language, line.text
            ));
        }
        let english_alone = Words {
            translations: &[],
            ..Words::of::<B>()
        };
        let found = look_up(
            &error(DatabaseErrorKind::Unknown, &line.text),
            &[english_alone],
        );
        if found.is_some() {
            wrong.push(format!(
                "English, it seems: {} {}",
                line.language, line.text
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No row without a text that needs it.
fn each_row_is_needed<B: ErrorBackend>(catalogue: &'static str) {
    for &(language, rows) in B::TRANSLATIONS {
        for (pattern, cause) in rows {
            let needs = |line: Line| {
                line.language == language
                    && line.cause == Some(*cause)
                    && is_like(&line.text, pattern)
            };
            assert!(lines(catalogue).any(needs), "{language}: {pattern}");
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;

    const CATALOGUE: &str = include_str!("../../pg/catalogue.tsv");

    #[test]
    fn each_text_of_the_catalogues_has_its_cause() {
        each_text_has_its_cause::<diesel::pg::Pg>(CATALOGUE, |cause| match cause {
            Cause::SerializationFailure => DatabaseErrorKind::SerializationFailure,
            Cause::ConnectionLost => DatabaseErrorKind::ClosedConnection,
            _ => DatabaseErrorKind::Unknown,
        });
    }

    #[test]
    fn each_row_is_needed_by_a_text_of_the_catalogues() {
        each_row_is_needed::<diesel::pg::Pg>(CATALOGUE);
    }
}

#[cfg(feature = "mysql")]
mod mysql {
    use super::*;

    const CATALOGUE: &str = include_str!("../../mysql/catalogue.tsv");

    #[test]
    fn each_text_of_the_catalogues_has_its_cause() {
        each_text_has_its_cause::<diesel::mysql::Mysql>(CATALOGUE, |cause| match cause {
            // Only if the statement was prepared; to PostgreSQL the kind means another cause.
            Cause::Deadlock => DatabaseErrorKind::SerializationFailure,
            _ => DatabaseErrorKind::Unknown,
        });
    }

    #[test]
    fn each_row_is_needed_by_a_text_of_the_catalogues() {
        each_row_is_needed::<diesel::mysql::Mysql>(CATALOGUE);
    }
}

#[test]
fn percent_stands_for_anything_and_the_rest_is_to_the_letter() {
    for (text, pattern, fits) in [
        ("deadlock", "deadlock", true),
        ("deadlock!", "deadlock", false),
        ("deadlock!", "deadlock%", true),
        ("a deadlock", "deadlock%", false),
        ("a deadlock", "%deadlock", true),
        ("\"t\" is locked", "\"%\" is locked", true),
        ("\"t\" is unlocked", "\"%\" is locked", false),
        (
            "table 't' has changed; retry",
            "table '%' has changed%",
            true,
        ),
        (
            "table 't' has moved; retry",
            "table '%' has changed%",
            false,
        ),
        ("ab", "ab%b", false),
        ("aXbYc", "a%b%c", true),
        ("aXcYb", "a%b%c", false),
    ] {
        assert_eq!(is_like(text, pattern), fits, "{text} LIKE {pattern}");
    }
}
