//! Ctrl-C, SIGTERM and SIGHUP.
//!
//! The handler only leaves a note and ends the child that the main thread waits for. The main
//! thread then returns an error, and ends the servers and removes their folders on the way out:
//! by the same drops as after any other failure, so that there is one way to clean up.

use std::io::Result as IoResult;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{ensure, Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

struct State {
    interrupted: bool,
    foreground: Option<Pid>,
}

impl State {
    fn end_foreground(&self, signal: Signal) {
        if let Some(target) = self.foreground {
            // It may have ended by itself in this moment, as well.
            let _ = kill(target, signal);
        }
    }
}

static STATE: Mutex<State> = Mutex::new(State {
    interrupted: false,
    foreground: None,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        let mut state = state();
        // Who asks twice doesn't want to wait any longer.
        let signal = if state.interrupted {
            Signal::SIGKILL
        } else {
            Signal::SIGTERM
        };
        state.interrupted = true;
        state.end_foreground(signal);
    })
    .context("no signal handler")
}

/// Ends the child that the main thread waits for, which then goes on.
pub(crate) fn end_foreground() {
    state().end_foreground(Signal::SIGTERM);
}

pub(crate) fn happened() -> bool {
    state().interrupted
}

pub(crate) fn check() -> Result<()> {
    ensure!(!happened(), "interrupted");
    Ok(())
}

/// A child that the main thread waits for and that an interrupt ends. One at a time.
pub(crate) struct Foreground {
    child: Child,
    /// As `kill` takes it: a negative number is a process group.
    target: Pid,
}

impl Foreground {
    /// Starts a command in a process group of its own, so that an interrupt reaches all that it
    /// has started, such as the compiler and test binaries below Cargo.
    pub(crate) fn spawn_group(command: &mut Command) -> Result<Self> {
        Self::start(command.process_group(0), |pid| -pid)
    }

    /// Starts a command in this process's own group: only there may it read from a terminal.
    pub(crate) fn spawn_attached(command: &mut Command) -> Result<Self> {
        Self::start(command, |pid| pid)
    }

    fn start(command: &mut Command, target: impl Fn(i32) -> i32) -> Result<Self> {
        // Held throughout: an interrupt comes either before the child starts or finds it.
        let mut state = state();
        ensure!(!state.interrupted, "interrupted");
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {:?}", command.get_program()))?;
        let target = Pid::from_raw(target(i32::try_from(child.id())?));
        state.foreground = Some(target);
        Ok(Self { child, target })
    }

    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(crate) fn wait(&mut self) -> IoResult<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        state().foreground = None;
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(self.target, Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}
