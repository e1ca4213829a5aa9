//! The folder of a server.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::{ensure, Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, User};
use tempfile::TempDir;

use crate::clock::Clock;
use crate::{interrupt, place};

/// A client library may leave its sockets open for the programs that this process starts. A server
/// must not have them: a session whose client is gone would go on.
const CLOSE_FILES: &str =
    "for fd in /proc/self/fd/*; do fd=${fd##*/}; if ((fd > 2)); then exec {fd}>&-; fi; done; \
     exec \"$@\"";

/// The folder of a server, with all that it writes, and the account that owns it.
pub(crate) struct Home {
    folder: TempDir,
    /// `None`: whoever runs this. A server refuses to run as root.
    account: Option<User>,
    /// `None`: the machine's.
    clock: Option<Clock>,
}

impl Home {
    pub(crate) fn new(account: &str) -> Result<Self> {
        let folder = place::folder()?;
        let mut account_of_server = None;
        if Uid::effective().is_root() {
            let user = User::from_name(account)?.with_context(|| format!("no user {account}"))?;
            account_of_server = Some(user);
        }
        let home = Self {
            folder,
            account: account_of_server,
            clock: None,
        };
        home.own(home.path())?;
        Ok(home)
    }

    /// The same with a clock that can be set.
    pub(crate) fn with_clock(account: &str) -> Result<Self> {
        let mut home = Self::new(account)?;
        home.clock = Some(Clock::new(home.path())?);
        Ok(home)
    }

    pub(crate) fn set_clock(&self, seconds: i64) -> Result<()> {
        let clock = self.clock.as_ref().context("the clock is the machine's")?;
        clock.set(seconds)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives a file to the account.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        match &self.account {
            Some(user) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
            None => Ok(()),
        }
    }

    /// A program that runs in the folder, for its owner, and gets `end` should the thread that
    /// starts it be gone: even SIGKILL leaves no server behind.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, end: Signal) -> Result<Command> {
        self.command_after::<&str>(&[], program, end)
    }

    /// The same behind the words of another program, which ends in running it.
    pub(crate) fn command_after<W: AsRef<OsStr>>(
        &self,
        before: &[W],
        program: impl AsRef<OsStr>,
        end: Signal,
    ) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new("bash");
        command.args(["-c", CLOSE_FILES, "bash"]);
        command.args(before).arg("setpriv");
        if let Some(User { uid, gid, .. }) = &self.account {
            command.args([&format!("--reuid={uid}"), &format!("--regid={gid}")]);
            command.args(["--clear-groups", "--inh-caps=-all"]);
        }
        command
            .args(["--pdeathsig", end.as_str(), "--"])
            .args(self.clock.iter().flat_map(Clock::before))
            .arg(program)
            // Where Debian has mariadbd; not everybody has this in the path.
            .env("PATH", env::var("PATH").unwrap_or_default() + ":/usr/sbin")
            .current_dir(self.path())
            // Ctrl-C in a terminal is for this process alone, which ends the servers last.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Runs a command that sets something up.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let status = command.status().context("cannot run bash")?;
        interrupt::check()?;
        ensure!(status.success(), "{command:?}: {status}\n{}", self.tail());
        Ok(())
    }

    /// The server, and what it has started.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        place::processes(self.path())
    }

    /// The end of what the server has said.
    pub(crate) fn tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.path().join("log")
    }
}
