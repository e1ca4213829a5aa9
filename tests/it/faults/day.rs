//! A day that is over: what the tellers say, what the books say, and the line of the report.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use diesel_row_lock::Resolution;

use super::ledger::{Books, Teller};
use super::oracle::{violations, Kind, Servers, Violation};
use super::workload::{Bank, Deed, End};

#[derive(Debug)]
pub(crate) struct Day {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) books: Books,
    /// How many were injected.
    pub(crate) faults: u64,
    pub(crate) servers: Servers,
    seed: u64,
    server: String,
}

impl Day {
    /// Reads the books as soon as the server lets it.
    pub(crate) fn closed<C: Teller>(bank: &Bank<C>, deeds: Vec<Deed>, faults: u64) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (books, server) = loop {
            let read = C::open(&bank.office)
                .map_err(|error| error.to_string())
                .and_then(|mut conn| {
                    let server = conn.server().map_err(|error| error.to_string())?;
                    let books = conn.books().map_err(|error| error.to_string())?;
                    Ok((books, server))
                });
            match read {
                Ok(read) => break read,
                Err(error) => assert!(Instant::now() < deadline, "no books: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Self {
            deeds,
            books,
            faults,
            servers: Servers::One,
            seed: bank.seed,
            server,
        }
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        violations(&self.deeds, &self.books, self.servers)
    }

    /// How many violations of each kind.
    pub(crate) fn kinds(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for violation in self.violations() {
            *kinds.entry(violation.kind).or_default() += 1;
        }
        kinds
    }

    pub(crate) fn count(&self, what: impl Fn(&End) -> bool) -> usize {
        self.deeds.iter().filter(|deed| what(&deed.end)).count()
    }

    pub(crate) fn acked(&self) -> usize {
        self.count(|end| *end == End::Acked)
    }

    pub(crate) fn in_doubt(&self) -> usize {
        self.count(|end| matches!(end, End::InDoubt(_)))
    }

    /// What a law asserts at the end of its day: nothing is wrong, and something has happened.
    pub(crate) fn assert_right(&self, fault: &str) {
        self.report(fault);
        let violations = self.violations();
        let few = &violations[..violations.len().min(5)];
        assert!(
            violations.is_empty(),
            "{fault}, seed {}: {:?}, such as {few:#?}",
            self.seed,
            self.kinds()
        );
        assert!(self.faults > 0, "{fault}: no fault was injected");
        assert!(!self.books.journal.is_empty(), "{fault}: nothing was done");
    }

    /// For `cargo xtask faults`.
    fn report(&self, fault: &str) {
        let kinds = self.kinds();
        let number = |kind| kinds.get(&kind).copied().unwrap_or_default();
        let resolved = self.count(|end| {
            matches!(
                end,
                End::InDoubt(Some(Resolution::Committed | Resolution::NotCommitted))
            )
        });
        let wrong = number(Kind::WrongResolution);
        Line {
            fault,
            server: &self.server,
            faults: self.faults,
            deeds: self.deeds.len(),
            acked: self.acked(),
            lost: number(Kind::Lost),
            false_ok: number(Kind::FalseOk),
            in_doubt: self.in_doubt(),
            resolved: resolved - wrong,
            wrong: kinds.values().sum(),
            seed: self.seed,
        }
        .report();
    }
}

/// A line of the report that `cargo xtask faults` makes a table of.
pub(crate) struct Line<'l> {
    pub(crate) fault: &'l str,
    pub(crate) server: &'l str,
    pub(crate) faults: u64,
    pub(crate) deeds: usize,
    pub(crate) acked: usize,
    pub(crate) lost: usize,
    pub(crate) false_ok: usize,
    pub(crate) in_doubt: usize,
    pub(crate) resolved: usize,
    /// Violations of any kind.
    pub(crate) wrong: usize,
    pub(crate) seed: u64,
}

impl Line<'_> {
    pub(crate) fn report(&self) {
        let columns = [
            self.fault.to_owned(),
            self.server.to_owned(),
            self.faults.to_string(),
            self.deeds.to_string(),
            self.acked.to_string(),
            self.lost.to_string(),
            self.false_ok.to_string(),
            self.in_doubt.to_string(),
            self.resolved.to_string(),
            self.wrong.to_string(),
            self.seed.to_string(),
        ];
        let line = columns.join("\t");
        eprintln!("{line}");
        if let Ok(path) = env::var("FAULT_REPORT") {
            let mut report = File::options()
                .create(true)
                .append(true)
                .open(path)
                .unwrap();
            writeln!(report, "{line}").unwrap();
        }
    }
}
