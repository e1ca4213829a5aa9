//! [`Isolation`]: the isolation level of a transaction.

/// The isolation level of a locked call's transaction, for
/// [`RowLock::isolation`](crate::RowLock::isolation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Each statement sees what was committed when it began. PostgreSQL's default.
    ReadCommitted,
    /// All plain reads see what was committed when the first one began. The default of MySQL and
    /// MariaDB. PostgreSQL refuses to lock a row that has changed since then
    /// ([`SerializationFailure`](crate::LockError::SerializationFailure)), and so does MariaDB from
    /// 11.6 on.
    RepeatableRead,
    /// As if the transactions ran one after the other. PostgreSQL ends one of two that could not
    /// have; MySQL and MariaDB lock each row that is read.
    Serializable,
}

impl Isolation {
    /// The name in SQL.
    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), expect(dead_code))]
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}
