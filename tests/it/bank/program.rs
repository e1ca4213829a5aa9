//! The example as a process, on a database of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::scope;

use tempfile::TempDir;

use crate::support::example::build_example;

/// An empty database that is gone when this is dropped.
pub(super) struct Bank {
    pub(super) url: String,
    /// Deletes the database.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(super) owner: Box<dyn Send + Sync>,
}

impl Bank {
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        run(&self.url, arguments)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(["--database-url", &self.url]).args(arguments);
        command
    }

    pub(super) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        stdout(&output)
    }

    /// The number that a command prints.
    pub(super) fn number(&self, arguments: &[&str]) -> i64 {
        self.prints(arguments)
            .trim_end()
            .parse()
            .expect("a number alone")
    }

    /// Two processes storm the account for two seconds; returns what each says it has booked.
    pub(super) fn storm_twice(&self, account: i64, strategies: [&str; 2]) -> [i64; 2] {
        let account = account.to_string();
        let storm = |strategy| {
            let arguments = ["storm", "--threads", "3", "--seconds", "2"];
            let which = ["--account", &account, "--strategy", strategy];
            self.prints(&[&arguments[..], &which].concat())
        };
        let reports = scope(|scope| {
            let other = scope.spawn(|| storm(strategies[1]));
            [storm(strategies[0]), other.join().expect("the other storm")]
        });
        // Of both: who saves by version beside those who lock has much to do again.
        let bookings: i64 = reports.iter().map(|report| word(report, "bookings")).sum();
        assert!(bookings > 20, "too few to meet: {reports:?}");
        reports.map(|report| word(&report, "net"))
    }
}

pub(super) fn sqlite() -> Bank {
    let folder = TempDir::new().expect("a temporary folder");
    Bank {
        url: format!("sqlite://{}", folder.path().join("bank.db").display()),
        owner: Box::new(folder),
    }
}

pub(super) fn run(url: &str, arguments: &[&str]) -> Output {
    Command::new(program())
        .args(["--database-url", url])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the example runs")
}

/// The example, built once.
pub(super) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build_example("bank", &[]))
}

/// The number behind a label of a report.
pub(super) fn word(report: &str, label: &str) -> i64 {
    let mut lines = report.lines().map(str::trim_start);
    let line = lines.find_map(|line| line.strip_prefix(label));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.unwrap_or_else(|| panic!("no `{label}` in {report}"));
    number.parse().expect("a number")
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}
