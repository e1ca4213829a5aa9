use law::{law, part};

#[law]
fn of_no_backend(db: &Db) {}

#[law()]
fn of_an_empty_list(db: &Db) {}

#[law(postgres, oracle)]
fn of_an_unknown_backend(db: &Db) {}

#[law(sqlite, postgres, sqlite)]
fn of_one_backend_twice(db: &Db) {}

#[law("sqlite")]
fn of_a_string(db: &Db) {}

#[law(sqlite)]
fn without_a_database() {}

#[part(sqlite)]
fn with_more_than_a_url(url: String, part: String) {}

#[law(sqlite)]
struct NoFunction;

fn main() {}
