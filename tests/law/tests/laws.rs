//! The tests that the attributes write.

// The features are those of the crate under test. This crate has none.
#![allow(unexpected_cfgs)]

use std::num::ParseIntError;

use law::{law, part};

mod support {
    pub(crate) mod sqlite {
        pub(crate) struct Conn;
        pub(crate) struct Db(pub(crate) String);

        impl Db {
            pub(crate) fn new(name: &str) -> Self {
                Self(name.to_owned())
            }
        }
    }

    pub(crate) mod child {
        pub(crate) fn url() -> Option<String> {
            None
        }
    }
}

/// Compiles only without the test of PostgreSQL: `support` has no such module.
#[law(postgres, sqlite)]
fn database_is_named_after_the_test(db: &Db) {
    let _: Conn = Conn;
    assert_eq!(db.0, "laws::database_is_named_after_the_test::sqlite");
}

#[should_panic(expected = "on purpose")]
#[law(sqlite)]
fn attribute_before_the_law_applies_to_its_tests(_db: &Db) {
    panic!("on purpose");
}

#[law(sqlite)]
#[should_panic(expected = "on purpose")]
fn attribute_behind_the_law_applies_to_its_tests(_db: &Db) {
    panic!("on purpose");
}

#[law(sqlite)]
#[cfg(any())]
fn law_of_another_configuration_is_left_out(db: &Db) {
    db.no_such_method();
}

#[law(sqlite)]
fn body_may_return_and_use_the_question_mark(db: &Db) -> Result<(), ParseIntError> {
    let number: usize = "7".parse()?;
    if db.0.len() > number {
        return Ok(());
    }
    panic!("it has returned");
}

#[part(sqlite)]
fn part_is_not_played_outside_of_a_child(url: String) {
    panic!("played on {url}");
}
