//! The command line.

use std::num::NonZeroU16;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

const DEFAULT_DATABASE: &str = "sqlite://bank.db";

/// A bank that many threads and processes can use at once. All amounts are whole cents.
///
/// Without a command it shows in a temporary SQLite file (or in the database given with
/// --database-url) how concurrent bookings lose money without a row lock, and that they lose none
/// with one.
#[derive(Debug, Parser)]
#[command(name = "bank")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The database: sqlite://FILE, postgres://… (feature `postgres`) or mysql://… (feature
    /// `mysql`). The commands use sqlite://bank.db in the current folder if none is given
    #[arg(long, global = true, value_name = "URL", env = "DATABASE_URL")]
    // The URL may hold a password.
    #[arg(hide_env_values = true)]
    database_url: Option<String>,

    /// Whether the URL comes from the environment.
    #[arg(skip)]
    from_environment: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open an account and print its id
    Open {
        /// Whose account it is
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        owner: String,
        /// The opening balance, in cents
        #[arg(
            long,
            default_value_t = 0,
            value_name = "CENTS",
            allow_negative_numbers = true
        )]
        balance: i64,
    },
    /// Pay money in and print the new balance
    #[command(allow_negative_numbers = true)]
    Deposit {
        /// The account
        id: i32,
        /// How much, in cents
        amount: i64,
    },
    /// Take money out and print the new balance
    #[command(allow_negative_numbers = true)]
    Withdraw {
        /// The account
        id: i32,
        /// How much, in cents
        amount: i64,
    },
    /// Print the balance
    #[command(allow_negative_numbers = true)]
    Balance {
        /// The account
        id: i32,
    },
    /// Move money from one account to another and print the new balance of the first
    #[command(allow_negative_numbers = true)]
    Transfer {
        /// The account to take from
        from: i32,
        /// The account to pay into
        to: i32,
        /// How much, in cents
        amount: i64,
    },
    /// Book on one account from many threads at once, then count the money
    ///
    /// Every other thread pays in up to 100 cents at a time, the others take out up to 50. Each
    /// has a connection of its own. Several processes may storm the same account. With the
    /// strategies `row` and `version` the exit code is 1 if anything was lost.
    Storm {
        /// How many threads
        #[arg(long, default_value = "4", value_name = "N")]
        threads: NonZeroU16,
        /// For how long
        #[arg(long, default_value = "2", value_name = "S")]
        seconds: NonZeroU16,
        /// How they keep out of each other's way
        #[arg(long, value_enum, default_value_t = Strategy::Row)]
        strategy: Strategy,
        /// The account; a fresh one is opened if none is given
        #[arg(long, value_name = "ID", allow_negative_numbers = true)]
        account: Option<i32>,
    },
    /// Change the owner of an account, with a lease on it as long as it takes
    ///
    /// The lease keeps other operators away, for ten minutes at most; bookings go on. Asks for the
    /// new owner unless one is given.
    #[command(allow_negative_numbers = true)]
    Edit {
        /// The account
        id: i32,
        /// The new owner
        #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        owner: Option<String>,
        /// How long to think about it (5s, 2min), with --owner
        #[arg(long, value_name = "TIME", default_value = "0s", requires = "owner")]
        #[arg(value_parser = humantime::parse_duration)]
        hold: Duration,
        /// Who edits, as others see it
        #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
        #[arg(default_value = "operator")]
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        operator: String,
    },
    /// Print who edits which account and, on a server, who waits for a lock
    Who,
    /// Check every account against its journal; the exit code is 1 if any is broken
    Audit,
}

/// How the threads of a storm keep out of each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// Not at all: read the balance, compute, write it back
    None,
    /// `with_row_lock`: lock the row, read it fresh, change it, commit
    Row,
    /// `save_versioned`: read, compute, write if nobody has meanwhile, otherwise again
    Version,
}

impl Cli {
    /// Ends the program with exit code 2 if the command line makes no sense.
    pub(crate) fn from_command_line() -> Self {
        let matches = Self::command().get_matches();
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.from_environment =
            matches.value_source("database_url") == Some(ValueSource::EnvVariable);
        cli
    }

    pub(crate) fn database(&self) -> &str {
        self.database_url.as_deref().unwrap_or(DEFAULT_DATABASE)
    }

    /// The database for the demonstration, if one was asked for. A `DATABASE_URL` that happens to
    /// be set does not ask for it: the demonstration writes.
    pub(crate) fn demo_database(&self) -> Option<&str> {
        self.database_url
            .as_deref()
            .filter(|_| !self.from_environment)
    }
}
