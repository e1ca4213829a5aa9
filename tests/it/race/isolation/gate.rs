//! A gate inside of a statement: it has its snapshot, and has not locked its rows yet.

use diesel::dsl::select;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};
use diesel_row_lock::race::Steps;

/// As functions, not as text: Diesel prepares the statement once.
#[diesel::declare_sql_function]
extern "SQL" {
    fn pg_advisory_lock(key: Integer) -> Nullable<Bool>;
    fn pg_advisory_unlock(key: Integer) -> Bool;
    fn hashtext(text: Text) -> Integer;
    fn current_schema() -> Text;
}

/// A condition that is true, but not before the gate is open. The key is the test's own: its
/// schema.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn past_the_gate() -> _ {
    pg_advisory_lock(hashtext(current_schema())).is_not_null()
}

/// The session of the gate: `shut` and `open`.
pub(super) fn gate(conn: &mut PgConnection, steps: &Steps) -> QueryResult<bool> {
    steps.next("shut");
    select(past_the_gate()).get_result::<bool>(conn)?;
    steps.next("open");
    select(pg_advisory_unlock(hashtext(current_schema()))).get_result(conn)
}
