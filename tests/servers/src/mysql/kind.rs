//! What MySQL and MariaDB differ in.

use std::process::Command;

use anyhow::Result;

use crate::home::Home;

/// One of the two.
pub(crate) trait Kind: Sized {
    /// What only this kind of server is told.
    const ARGUMENTS: &[&str];

    /// The programs that are to be used.
    fn find() -> Result<Self>;

    /// Makes the data folder.
    fn install(&self, home: &Home) -> Result<()>;

    /// The server, without the arguments that both have.
    fn program(&self, home: &Home) -> Result<Command>;
}
