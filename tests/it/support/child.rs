//! A process of its own that plays a part in a test, so that it can be frozen or killed.
//!
//! The part is a test of this same binary, made by the attribute `part`. It returns at once unless
//! it runs in a child. Both sides speak in lines.

use std::env;
use std::io::{stdin, stdout, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

const URL: &str = "PART_URL";
/// Libtest writes to the same lines.
const MARK: &str = "[part] ";

pub(crate) struct Child {
    process: std::process::Child,
    lines: Receiver<String>,
}

impl Child {
    /// Starts the part of this name, with some more in its environment.
    pub(crate) fn play(part: &str, url: &str, told: &[(&str, String)]) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", part])
            .env(URL, url)
            .envs(told.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Always read, so that it never waits for us to.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once(MARK) {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Self { process, lines }
    }

    /// The next thing that the child says.
    pub(crate) fn hear(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(20))
            .expect("the child ended, or sleeps, without a word")
    }

    /// The next thing that the child says; `None` if it has ended, or says nothing for so long.
    pub(crate) fn hear_within(&self, time: Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    /// Wakes the child from [`listen`].
    pub(crate) fn nudge(&mut self) {
        writeln!(self.process.stdin.as_mut().unwrap()).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    /// Returns when all its threads have stopped.
    pub(crate) fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let state = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(state, WaitStatus::Stopped(self.pid(), Signal::SIGSTOP));
    }

    pub(crate) fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// Kills it; returns all that it has said since.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the child: the database that the test has made. `None` if nobody has asked for the part.
pub(crate) fn url() -> Option<String> {
    env::var(URL).ok()
}

/// In the child: what else it was told.
pub(crate) fn told<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    env::var(name).unwrap().parse().unwrap()
}

/// In the child.
pub(crate) fn say(what: impl std::fmt::Display) {
    // At once, and whatever the test harness does with what tests print.
    writeln!(stdout().lock(), "{MARK}{what}").unwrap();
}

/// In the child: waits for [`Child::nudge`].
pub(crate) fn listen() {
    stdin().lines().next().unwrap().unwrap();
}
