//! A server's process, which ends and begins again.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::home::Home;
use crate::{interrupt, spawner};

const PATIENCE_AT_START: Duration = Duration::from_secs(180);
const PATIENCE_AT_END: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A server: it runs or it doesn't, and its data stay until this is dropped.
pub(crate) struct Process {
    child: Option<Child>,
    server: Arc<Mutex<Command>>,
    /// A client's command that succeeds once the server takes connections.
    probe: Command,
    /// Asks the server to end without waiting for its clients.
    end: Signal,
    /// Dropped after the server has ended.
    home: Home,
    attempts: u32,
}

impl Process {
    pub(crate) fn new(home: Home, server: Command, probe: Command, end: Signal) -> Self {
        Self {
            attempts: 1,
            child: None,
            server: Arc::new(Mutex::new(server)),
            probe,
            end,
            home,
        }
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start(&mut self) -> Result<()> {
        interrupt::check()?;
        ensure!(!self.is_running(), "the server runs already");
        // One that ended by itself may have left helpers behind.
        self.await_end()?;
        let mut left = self.attempts;
        loop {
            self.child = Some(spawner::spawn(&self.server)?);
            left -= 1;
            let ready = self.await_ready();
            if ready.is_ok() || left == 0 || self.is_running() {
                return ready;
            }
            self.await_end()?;
        }
    }

    /// How often it may end at its start before that is an error.
    pub(crate) fn try_to_start(&mut self, attempts: u32) {
        self.attempts = attempts;
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE_AT_START;
        loop {
            interrupt::check()?;
            let Err(error) = output(&mut self.probe) else {
                return Ok(());
            };
            if !self.is_running() {
                bail!("a server ended at its start\n{}", self.home.tail());
            }
            if Instant::now() > deadline {
                return Err(error.context(format!("no answer\n{}", self.home.tail())));
            }
            thread::sleep(PAUSE);
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            if matches!(child.try_wait(), Ok(None)) {
                return true;
            }
        }
        // Never again a signal to a process that has ended: its number may be another's by now.
        self.child = None;
        false
    }

    pub(crate) fn pid(&self) -> Result<Pid> {
        let child = self.child.as_ref().context("the server doesn't run")?;
        Ok(Pid::from_raw(i32::try_from(child.id())?))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid()?, signal)?)
    }

    /// Sends a signal that ends the server, and waits until it is gone, and with it all that it has
    /// started: PostgreSQL doesn't begin again while one of them has the shared memory.
    pub(crate) fn end_by(&mut self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        // One that was stopped sees no other signal before this.
        self.signal(Signal::SIGCONT)?;
        if signal == Signal::SIGKILL {
            // As when the server's machine is gone.
            for helper in self.home.processes() {
                // It may have ended by itself.
                let _ = kill(helper, signal);
            }
        }
        self.await_end()
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.end_by(Signal::SIGKILL)
    }

    /// Until the server and all that it has started are gone.
    pub(crate) fn await_end(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE_AT_END;
        while self.is_running() || !self.home.processes().is_empty() {
            let late = Instant::now() > deadline;
            ensure!(!late, "a server doesn't end\n{}", self.home.tail());
            thread::sleep(PAUSE / 4);
        }
        Ok(())
    }

    /// What the next start is to run.
    pub(crate) fn becomes(&mut self, server: Command) {
        self.server = Arc::new(Mutex::new(server));
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            if let Err(error) = self.end_by(self.end) {
                eprintln!("a server had to be killed: {error:#}");
                let _ = self.kill();
            }
        }
    }
}

/// What a client's command prints.
pub(crate) fn output(client: &mut Command) -> Result<String> {
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
