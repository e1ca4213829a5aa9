//! MySQL, which Debian's stable releases do not have.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::kind::Kind;
use super::{data, temporary, ACCOUNT, END};
use crate::home::Home;
use crate::releases::{Installation, Product, Release};
use crate::unpacked::run;

/// A tenth of what is the default, which would have to be made and copied for each server.
const REDO: &str = "--innodb-redo-log-capacity=10M";

pub struct MySql(Installation);

impl Kind for MySql {
    const ARGUMENTS: &[&str] = &[
        // The X protocol has a port of its own.
        "--mysqlx=OFF",
        REDO,
    ];

    fn find() -> Result<Self> {
        let product = Product::MySql;
        let version = Release::versions(product).next().context("no MySQL")?;
        Ok(Self(Installation::of(Release::of(product, version)?)?))
    }

    /// A copy of data that were made once: to make them takes several seconds of computing.
    fn install(&self, home: &Home) -> Result<()> {
        let made = self.0.made("data", |folder| self.initialize(folder))?;
        let mut copy = home.command("cp", END)?;
        copy.args(["--archive", "--reflink=auto"]);
        home.run(copy.args([&made, &home.path().join("data")]))
            .context("the copy of MySQL's data folder")
    }

    fn program(&self, home: &Home) -> Result<Command> {
        let Self(installation) = self;
        let mut server = installation.command(home, "mysqld", END)?;
        let share = installation.path("usr/share/mysql");
        let plugins = installation.libraries()?.join("mysql/plugin");
        server.args([
            // Must come first.
            "--no-defaults",
            &format!("--basedir={}", installation.path("usr").display()),
            &format!("--lc-messages-dir={}", share.display()),
            &format!("--character-sets-dir={}/charsets", share.display()),
            &format!("--plugin-dir={}", plugins.display()),
            "--secure-file-priv=NULL",
        ]);
        Ok(server)
    }
}

impl MySql {
    /// Makes data and moves them to that place.
    fn initialize(&self, place: &Path) -> Result<()> {
        let home = Home::new(ACCOUNT)?;
        let mut initialize = self.program(&home)?;
        initialize.args([
            &data(&home),
            &temporary(&home),
            REDO,
            "--initialize-insecure",
        ]);
        home.run(&mut initialize)
            .context("MySQL's --initialize-insecure")?;
        // Each server is to have a name of its own.
        fs::remove_file(home.path().join("data/auto.cnf"))?;
        run(Command::new("cp")
            .arg("--archive")
            .args([&home.path().join("data"), place]))
    }
}
