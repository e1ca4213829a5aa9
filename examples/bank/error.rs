//! [`BankError`]: everything that can go wrong, as one clear line.

use std::error::Error as _;

use diesel_row_lock::LockError;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum BankError {
    #[error("unknown account{}", .id.as_ref().map(|id| format!(" {id}")).unwrap_or_default())]
    UnknownAccount { id: Option<String> },
    #[error("the amount must be positive, not {amount}")]
    AmountNotPositive { amount: i64 },
    #[error("the opening balance must not be negative")]
    NegativeOpeningBalance,
    #[error("insufficient funds: the balance is {balance}, not enough to take out {amount}")]
    InsufficientFunds { balance: i64, amount: i64 },
    #[error("the account can't hold so much: the balance is {balance}, paying in {amount}")]
    Overflow { balance: i64, amount: i64 },
    #[error("can't transfer from an account to itself")]
    SameAccount,

    #[error(
        "unknown kind of database: the URL must begin with sqlite://, postgres:// or mysql://"
    )]
    UnknownScheme,
    #[error("the URL names no file: write sqlite://FILE")]
    NoFile,
    #[cfg(not(all(feature = "postgres", feature = "mysql")))]
    #[error(
        "this build of the example has no {database}; run it with `--features {feature}` \
         (cargo run --example bank --features {feature})"
    )]
    NotCompiledIn {
        database: &'static str,
        feature: &'static str,
    },
    #[error("can't open the database: {0}")]
    Connect(#[from] diesel::ConnectionError),
    #[error("can't create the tables: {0}")]
    Migration(String),
    #[error("can't make a temporary folder")]
    TemporaryFolder(#[from] std::io::Error),

    #[error("can't read the new owner")]
    Input(#[source] std::io::Error),

    #[error(transparent)]
    Lock(LockError),
}

impl From<LockError> for BankError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::NotFound { key } => Self::UnknownAccount { id: key },
            LockError::DuplicateKey { .. } => Self::SameAccount,
            other => Self::Lock(other),
        }
    }
}

/// Errors of plain Diesel calls, by the same meaning.
impl From<diesel::result::Error> for BankError {
    fn from(error: diesel::result::Error) -> Self {
        LockError::from(error).into()
    }
}

impl BankError {
    /// Whether the bank refused the booking: the account stays as it is, nothing is broken.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::InsufficientFunds { .. } | Self::Overflow { .. })
    }

    /// Whether the same booking may succeed on the same connection.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Lock(LockError::ConnectionLost { .. }) => false,
            Self::Lock(error) => error.is_transient(),
            _ => false,
        }
    }

    /// The error and its causes, without the line breaks that servers put into theirs.
    pub(crate) fn in_one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
