//! MariaDB.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context, Result};

use super::kind::Kind;
use super::{data, temporary, END};
use crate::home::Home;
use crate::releases::{Installation, Product, Release};

/// Names the version of MariaDB that servers are to be made of, if not that of Debian.
pub const RELEASE_VARIABLE: &str = "MARIADB_RELEASE";

/// What `mariadb-install-db` feeds to a server that begins.
const SYSTEM_TABLES: [&str; 3] = [
    "mariadb_system_tables.sql",
    "mariadb_performance_tables.sql",
    "mariadb_system_tables_data.sql",
];

/// `None`: the one that is installed.
pub struct MariaDb(Option<Installation>);

impl MariaDb {
    pub(super) fn of_debian() -> Self {
        Self(None)
    }

    pub(super) fn of_version(version: &str) -> Result<Self> {
        let release = Release::of(Product::MariaDb, version)?;
        Ok(Self(Some(Installation::of(release)?)))
    }
}

impl Kind for MariaDb {
    const ARGUMENTS: &[&str] = &["--innodb-log-file-size=16M", "--skip-name-resolve"];

    fn find() -> Result<Self> {
        let release = Release::wanted(Product::MariaDb, RELEASE_VARIABLE)?;
        Ok(Self(release.map(Installation::of).transpose()?))
    }

    fn install(&self, home: &Home) -> Result<()> {
        let Self(Some(installation)) = self else {
            let mut install = home.command("mariadb-install-db", END)?;
            install.args(["--no-defaults", &data(home), &temporary(home)]);
            install.arg("--skip-test-db");
            install.args(["--auth-root-authentication-method=normal"]);
            return home
                .run(install.arg("--skip-name-resolve"))
                .context("MariaDB's mariadb-install-db");
        };
        let folder = home.path().join("data");
        fs::create_dir(&folder)?;
        home.own(&folder)?;
        // As that script does, which looks for everything where a package is installed. The server
        // reads a statement to a line.
        let begin = "create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n";
        let mut statements = begin.to_owned();
        for file in SYSTEM_TABLES {
            statements += &fs::read_to_string(share(installation).join(file))?;
        }
        let path = home.path().join("install.sql");
        fs::write(&path, statements)?;
        let mut install = self.program(home)?;
        install.args([&data(home), &temporary(home)]);
        install.args(["--bootstrap", "--skip-grant-tables"]);
        install.stdin(File::open(path)?);
        home.run(&mut install).context("MariaDB's --bootstrap")
    }

    fn program(&self, home: &Home) -> Result<Command> {
        let Self(Some(installation)) = self else {
            let mut server = home.command("mariadbd", END)?;
            server.arg("--no-defaults");
            return Ok(server);
        };
        let mut server = installation.command(home, "mariadbd", END)?;
        let share = share(installation);
        let plugins = installation.libraries()?.join("mariadb19/plugin");
        server.args([
            // Must come first.
            "--no-defaults",
            &format!("--basedir={}", installation.path("usr").display()),
            &format!("--lc-messages-dir={}", share.display()),
            &format!("--character-sets-dir={}/charsets", share.display()),
            &format!("--plugin-dir={}", plugins.display()),
        ]);
        Ok(server)
    }
}

fn share(installation: &Installation) -> std::path::PathBuf {
    installation.path("usr/share/mariadb")
}
