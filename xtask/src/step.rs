//! One command of a run: shown while it runs, timed, and its tests counted.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use anyhow::Result;

use crate::count::Counter;
use crate::interrupt::{self, Foreground};

/// Tests of locks hang when they fail badly, and a hung one must not hold the servers for ever.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// A step that has ended.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) succeeded: bool,
    pub(crate) duration: Duration,
    pub(crate) tests: Counter,
}

impl Step {
    /// A check of our own that has ended, without tests.
    pub(crate) fn of_check(name: &str, succeeded: bool, start: Instant) -> Self {
        Self {
            name: name.to_owned(),
            succeeded,
            duration: start.elapsed(),
            tests: Counter::default(),
        }
    }
}

/// Cargo in the workspace's root.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments);
    command.current_dir(root());
    command
}

/// Runs Cargo with these arguments; a warning of rustdoc is an error.
pub(crate) fn checked(name: &str, arguments: &str) -> Result<Step> {
    let mut command = cargo(arguments.split(' '));
    command.env("RUSTDOCFLAGS", "-Dwarnings");
    run(name, &mut command)
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    // `cargo run` tells where this package is.
    match env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => PathBuf::from(package).join(".."),
        None => PathBuf::from("."),
    }
}

/// Runs a command to its end. That it fails is no error here: the next step is to run, too.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<Step> {
    run_within(LIMIT, name, command)
}

/// The same for a command that may take so long.
pub(crate) fn run_within(limit: Duration, name: &str, command: &mut Command) -> Result<Step> {
    println!("\n==> {name}");
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Foreground::spawn_group(command)?;
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let too_late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if too_late {
            interrupt::end_foreground();
        }
        too_late
    });
    let tests = show(&mut child)?;
    let status = child.wait()?;
    drop(ended);
    if watch.join().unwrap_or_default() {
        println!("==> {name} took longer than {limit:?}");
    }
    interrupt::check()?;
    if !status.success() {
        println!("==> {name} failed: {status}");
    }
    Ok(Step {
        name: name.to_owned(),
        succeeded: status.success(),
        duration: start.elapsed(),
        tests,
    })
}

/// Passes on what a command prints and counts the tests in it.
fn show(child: &mut Foreground) -> Result<Counter> {
    let mut tests = Counter::default();
    if let Some(stdout) = child.stdout() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line)? > 0 {
            io::stdout().write_all(&line)?;
            tests.line(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
    tests.end();
    Ok(tests)
}
