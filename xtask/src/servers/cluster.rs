//! A throw-away server: a folder, a process, and the end of both.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{bail, ensure, Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::{Pid, Uid, User};
use tempfile::TempDir;

use crate::interrupt;

const PATIENCE_AT_START: Duration = Duration::from_secs(30);
const PATIENCE_AT_END: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The folder of a server, with all that it writes, and the account that owns it.
pub(super) struct Home {
    folder: TempDir,
    /// `None`: whoever runs this. A server refuses to run as root.
    account: Option<User>,
}

impl Home {
    pub(super) fn new(account: &str) -> Result<Self> {
        // Not what TMPDIR says: a socket's path must be short, and the account must get there.
        let folder = tempfile::Builder::new().prefix("rl-").tempdir_in("/tmp")?;
        let mut owner = None;
        if Uid::effective().is_root() {
            let user = User::from_name(account)?.with_context(|| format!("no user {account}"))?;
            chown(
                folder.path(),
                Some(user.uid.as_raw()),
                Some(user.gid.as_raw()),
            )?;
            owner = Some(user);
        }
        Ok(Self {
            folder,
            account: owner,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A program that runs in the folder, for its owner, and gets `end` should this process, or
    /// the thread that starts it, be gone: even SIGKILL leaves no server behind.
    pub(super) fn command(&self, program: impl AsRef<OsStr>, end: Signal) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new("setpriv");
        if let Some(User { uid, gid, .. }) = &self.account {
            command.args([&format!("--reuid={uid}"), &format!("--regid={gid}")]);
            command.args(["--clear-groups", "--inh-caps=-all"]);
        }
        command
            .args(["--pdeathsig", end.as_str(), "--"])
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
    pub(super) fn run(&self, command: &mut Command) -> Result<()> {
        let status = command.status().context("cannot run setpriv")?;
        interrupt::check()?;
        ensure!(status.success(), "{command:?}: {status}\n{}", self.tail());
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    fn tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A server that is ready to be started.
pub(super) struct Cluster {
    pub(super) home: Home,
    pub(super) server: Command,
    /// Asks the server to end without waiting for its clients.
    pub(super) end: Signal,
}

impl Cluster {
    pub(super) fn start(mut self) -> Result<Process> {
        interrupt::check()?;
        let child = self.server.spawn().context("cannot run setpriv")?;
        Ok(Process {
            child,
            end: self.end,
            home: self.home,
        })
    }
}

/// A server that runs, until this is dropped.
pub(super) struct Process {
    child: Child,
    end: Signal,
    /// Dropped after the server has ended.
    home: Home,
}

impl Process {
    /// Repeats a client's command until it succeeds, and returns what it prints.
    pub(super) fn await_ready(&mut self, probe: &mut Command) -> Result<String> {
        let deadline = Instant::now() + PATIENCE_AT_START;
        loop {
            interrupt::check()?;
            let error = match output(probe) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "a server ended at its start: {status}\n{}",
                    self.home.tail()
                );
            }
            if Instant::now() > deadline {
                return Err(error.context(format!("no answer\n{}", self.home.tail())));
            }
            thread::sleep(PAUSE);
        }
    }

    fn end(&mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), self.end)?;
        let deadline = Instant::now() + PATIENCE_AT_END;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "it goes on");
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not to signal a process that has ended: its number may be another's by now.
        if let Ok(Some(status)) = self.child.try_wait() {
            eprintln!("a server had ended before: {status}\n{}", self.home.tail());
        } else if let Err(error) = self.end() {
            eprintln!("a server had to be killed: {error:#}");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a client's command prints.
pub(super) fn output(client: &mut Command) -> Result<String> {
    let output = client
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {:?}", client.get_program()))?;
    ensure!(
        output.status.success(),
        "{:?}: {}",
        client.get_program(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A port that nobody listens on.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
