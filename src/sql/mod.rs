//! The SQL nodes: a `SELECT` with a locking clause, a `SELECT` of rows by primary key, and the
//! `UPDATE` that saves one.

pub(crate) mod ablation;
pub(crate) mod by_key;
pub(crate) mod clause;
pub(crate) mod key;
pub(crate) mod lockable;
pub(crate) mod save;
pub(crate) mod stamped;

#[cfg(test)]
mod tests;
