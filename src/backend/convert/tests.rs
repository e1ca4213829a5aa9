//! Errors that are cloned, sent through Diesel's type, or both.

use std::error::Error;

use diesel::result::DatabaseErrorKind;

use super::*;

/// An answer with a different text in each of its parts.
#[derive(Debug)]
struct Full;

impl DatabaseErrorInformation for Full {
    fn message(&self) -> &str {
        "the message"
    }

    fn details(&self) -> Option<&str> {
        Some("the details")
    }

    fn hint(&self) -> Option<&str> {
        Some("the hint")
    }

    fn table_name(&self) -> Option<&str> {
        Some("the table")
    }

    fn column_name(&self) -> Option<&str> {
        Some("the column")
    }

    fn constraint_name(&self) -> Option<&str> {
        Some("the constraint")
    }

    fn statement_position(&self) -> Option<i32> {
        Some(7)
    }
}

fn taken() -> DieselError {
    DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, Box::new(Full))
}

/// All that an answer of a database holds; `None` for any other error.
fn parts(error: &DieselError) -> Option<impl PartialEq + std::fmt::Debug> {
    let DieselError::DatabaseError(kind, information) = error else {
        return None;
    };
    let own = |text: Option<&str>| text.map(str::to_owned);
    Some((
        format!("{kind:?}"),
        information.message().to_owned(),
        own(information.details()),
        own(information.hint()),
        own(information.table_name()),
        own(information.column_name()),
        own(information.constraint_name()),
        information.statement_position(),
    ))
}

#[test]
fn clone_becomes_an_error_of_diesel_with_every_part_of_the_answer() {
    let error = LockError::from(taken());
    let clone = error.clone();
    let of_the_clone = DieselError::from(clone);
    assert_eq!(parts(&of_the_clone), parts(&taken()));
    // No other error holds Diesel's error any more, so this one gives it away.
    drop(of_the_clone);
    assert_eq!(parts(&DieselError::from(error)), parts(&taken()));
}

#[test]
fn clone_survives_the_way_through_diesel_while_the_first_lives() {
    let text = || DieselError::QueryBuilderError("text".into());
    for first in [
        LockError::Database(text().into()),
        LockError::Database(DieselError::RollbackTransaction.into()),
        LockError::Database(DieselError::BrokenTransactionManager.into()),
        LockError::Database(taken().into()),
        LockError::Busy {
            source: taken().into(),
        },
        LockError::Deadlock {
            source: text().into(),
        },
        LockError::RetriesExhausted {
            attempts: 2,
            first: crate::RetryCause::Busy,
            last: crate::RetryCause::Deadlock,
            source: Some(Box::new(LockError::Deadlock {
                source: taken().into(),
            })),
        },
    ] {
        let back = LockError::from(DieselError::from(first.clone()));
        let back_again = LockError::from(DieselError::from(back.clone()));
        for back in [back, back_again] {
            assert_eq!(
                std::mem::discriminant(&back),
                std::mem::discriminant(&first)
            );
            assert_eq!(back.to_string(), first.to_string());
            assert_eq!(
                back.diesel_error().and_then(parts),
                first.diesel_error().and_then(parts)
            );
        }
    }
}

#[test]
fn source_of_a_clone_is_the_error_of_diesel() {
    let error = LockError::Deadlock {
        source: taken().into(),
    };
    let clone = error.clone();
    for error in [error, clone] {
        let source = error.source().and_then(<dyn Error>::downcast_ref);
        assert_eq!(source.and_then(parts), parts(&taken()));
    }
}

#[test]
fn source_of_the_last_attempt_is_its_lock_error_and_that_of_diesel_lies_behind() {
    let error = LockError::RetriesExhausted {
        attempts: 4,
        first: crate::RetryCause::Deadlock,
        last: crate::RetryCause::SerializationFailure,
        source: Some(Box::new(LockError::SerializationFailure {
            source: taken().into(),
        })),
    };
    assert_eq!(
        error.to_string(),
        "gave up after 4 attempts (first: deadlock, last: serialization failure)"
    );
    let last = error.source().and_then(<dyn Error>::downcast_ref);
    let Some(last @ LockError::SerializationFailure { .. }) = last else {
        panic!("{last:?}");
    };
    let behind = last.source().and_then(<dyn Error>::downcast_ref);
    assert_eq!(behind.and_then(parts), parts(&taken()));
}
