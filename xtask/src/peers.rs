//! The peers of the contention benchmark: installs what they need, with the versions that
//! `benches/peers/` pins.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::step::{self, cargo};
use crate::{interrupt, packages};

const FOLDER: &str = "benches/peers";
const VENV: &str = "target/peers/python";

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) command: String,
    pub(crate) is_in_rust: bool,
}

/// Those that can be measured. One that can't be installed fails in the benchmark, which reports it
/// as missing.
pub(crate) fn install() -> Result<Vec<Peer>> {
    let root = step::root().canonicalize()?;
    let folder = root.join(FOLDER);
    debian(&["python3-venv", "ruby", "ruby-activerecord", "ruby-pg"])?;
    rust(&folder)?;
    python(&root, &folder)?;

    let rust = root.join("target/peers/release/peers");
    let python = root.join(VENV).join("bin/python");
    let script = |program: &Path, script: &str| {
        format!(
            "'{}' '{}'",
            program.display(),
            folder.join(script).display()
        )
    };
    let peer = |name, command| Peer {
        name,
        command,
        is_in_rust: false,
    };
    let in_rust = |name, word| Peer {
        is_in_rust: true,
        ..peer(name, format!("'{}' {word}", rust.display()))
    };
    Ok(vec![
        in_rust("sqlx", "sqlx"),
        in_rust("SeaORM", "sea-orm"),
        peer(
            "pgbench",
            script(Path::new("python3"), "pgbench/pgbench_peer.py"),
        ),
        peer("Django", script(&python, "python/django_peer.py")),
        peer("SQLAlchemy", script(&python, "python/sqlalchemy_peer.py")),
        // Debian's packages are for Debian's Ruby.
        peer(
            "Rails",
            script(Path::new("/usr/bin/ruby"), "ruby/rails_peer.rb"),
        ),
    ])
}

/// Without them, the rest goes on.
fn debian(wanted: &[&str]) -> Result<()> {
    if let Err(error) = packages::ensure(wanted) {
        println!("{error:#}");
    }
    interrupt::check()
}

fn rust(folder: &Path) -> Result<()> {
    let mut build = cargo(["build", "--release", "--locked"]);
    build.arg("--manifest-path");
    build.arg(folder.join("rust/Cargo.toml"));
    build.args(["--target-dir", "target/peers"]);
    step::run("build sqlx and SeaORM", &mut build)?;
    Ok(())
}

fn python(root: &Path, folder: &Path) -> Result<()> {
    let venv = root.join(VENV);
    let made = step::run(
        "make a place for Python",
        Command::new("/usr/bin/python3")
            .args(["-m", "venv"])
            .arg(&venv),
    )?;
    if made.succeeded {
        let mut install = Command::new(venv.join("bin/pip"));
        install.args(["install", "--quiet", "--requirement"]);
        install.arg(folder.join("python/requirements.txt"));
        step::run("install Django and SQLAlchemy", &mut install)?;
    }
    Ok(())
}
