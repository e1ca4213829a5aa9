//! The SQL nodes: a `SELECT` with a locking clause, and a `SELECT` of rows by primary key.

pub(crate) mod ablation;
pub(crate) mod by_key;
pub(crate) mod clause;
pub(crate) mod key;
pub(crate) mod lockable;
pub(crate) mod save;

#[cfg(test)]
mod sql_text;
