//! [`table_in`]: which table a query is of, as far as its type tells.

use std::any::type_name;

/// The name of the module of the first table in the type of a query or a table.
///
/// The types of Diesel's queries are public only in part, and to render the SQL would ask more of
/// the query than a locked call does; but the name of the type has all tables in it, and costs
/// nothing.
pub(crate) fn table_in<Q: ?Sized>() -> Option<&'static str> {
    first_table(type_name::<Q>())
}

/// `accounts` of `…<bank::schema::accounts::table>, …`.
fn first_table(type_name: &str) -> Option<&str> {
    const TABLE: &str = "::table";
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (at, _) = type_name.match_indices(TABLE).find(|(at, _)| {
        let behind = &type_name[at + TABLE.len()..];
        !behind.starts_with(|c| is_name(c) || c == ':')
    })?;
    let path = &type_name[..at];
    let start = path.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
    Some(&path[start..]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use diesel::query_builder::AsQuery;

    use super::*;

    diesel::table! { accounts { id -> Integer, table_of -> Text } }
    diesel::table! { tables { id -> Integer, account_id -> Integer } }
    diesel::joinable!(tables -> accounts (account_id));
    diesel::allow_tables_to_appear_in_same_query!(accounts, tables);
    diesel::alias!(accounts as others: Others);

    fn of<Q: AsQuery>(_: Q) -> Option<&'static str> {
        table_in::<Q::Query>()
    }

    #[test]
    fn table_is_the_first_of_the_query() {
        assert_eq!(table_in::<accounts::table>(), Some("accounts"));
        assert_eq!(of(accounts::table.find(1)), Some("accounts"));
        assert_eq!(
            of(accounts::table
                .select(accounts::table_of)
                .filter(accounts::id.gt(1))
                .order(accounts::id)
                .limit(3)),
            Some("accounts")
        );
        assert_eq!(
            of(tables::table.inner_join(accounts::table)),
            Some("tables")
        );
    }

    #[test]
    fn what_the_type_does_not_tell_is_not_guessed() {
        assert_eq!(of(others.select(others.field(accounts::id))), None);
        assert_eq!(table_in::<i32>(), None);
        assert_eq!(first_table("::table"), None);
        assert_eq!(first_table("a::table_b"), None);
        assert_eq!(first_table("a::table::b"), None);
    }
}
