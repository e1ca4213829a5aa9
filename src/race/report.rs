//! [`Proof`]: what every interleaving came to, and the verdict.

use std::fmt::{self, Debug};

use super::player::Ended;
use super::Script;

/// What the interleavings show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// There is a race, and the lock cures it: every interleaving is serial with the lock in, and at
    /// least one is not without it.
    Cured,
    /// There is a race with the lock in.
    Racy,
    /// Every interleaving is serial, with the lock and without it: there is no race to cure here, or
    /// no lock of this library that could be taken out. Such a test proves nothing.
    NoRaceToCure,
}

/// The final state, and what each operation returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<O> {
    /// As the observation saw it.
    pub state: O,
    /// Of the operation and of its rival: the `Debug` of the value or the `Display` of the error.
    pub results: Vec<Ended>,
}

/// One run with the rival between two statements of the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interleaving<O> {
    pub(super) pair: usize,
    /// The operation's statement that the rival came before.
    pub before: String,
    /// Whether the locking clauses were in.
    pub locked: bool,
    /// What it came to.
    pub outcome: Outcome<O>,
    /// Its statements.
    pub script: Script,
}

/// The two serial orders of an operation and a rival: this order, and the reverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Serial<O> {
    pub(super) names: [String; 2],
    pub(super) outcomes: [Outcome<O>; 2],
}

/// All runs of a [`Race`](super::Race). Its `Display` is a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof<O> {
    serial: Vec<Serial<O>>,
    interleavings: Vec<Interleaving<O>>,
}

impl<O> Default for Proof<O> {
    fn default() -> Self {
        Self {
            serial: Vec::new(),
            interleavings: Vec::new(),
        }
    }
}

impl<O: Eq> Proof<O> {
    pub(super) fn add_serial(&mut self, serial: Serial<O>) -> usize {
        self.serial.push(serial);
        self.serial.len() - 1
    }

    pub(super) fn add(&mut self, interleaving: Interleaving<O>) {
        self.interleavings.push(interleaving);
    }

    /// What they show.
    pub fn verdict(&self) -> Verdict {
        if self.races(true).next().is_some() {
            Verdict::Racy
        } else if self.races(false).next().is_some() {
            Verdict::Cured
        } else {
            Verdict::NoRaceToCure
        }
    }

    /// Every run but the serial ones.
    pub fn interleavings(&self) -> &[Interleaving<O>] {
        &self.interleavings
    }

    /// Those that came to what no serial order comes to, with the lock in or without it.
    pub fn races(&self, locked: bool) -> impl Iterator<Item = &Interleaving<O>> {
        let runs = self.interleavings.iter();
        runs.filter(move |run| run.locked == locked && !self.is_serial(run))
    }

    fn is_serial(&self, run: &Interleaving<O>) -> bool {
        self.serial[run.pair].outcomes.contains(&run.outcome)
    }
}

impl<O: Eq + Debug> Proof<O> {
    /// For a test.
    ///
    /// # Panics
    ///
    /// With the report, unless the verdict is [`Verdict::Cured`].
    #[track_caller]
    pub fn assert_cured(&self) {
        let verdict = self.verdict();
        assert!(verdict == Verdict::Cured, "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cured => "cured: there is a race, and the lock ends it",
            Self::Racy => {
                "RACY: with the lock in, an interleaving comes to what no serial order does"
            }
            Self::NoRaceToCure => {
                "no race to cure: every interleaving is serial without the lock too"
            }
        })
    }
}

impl<O: Eq + Debug> fmt::Display for Proof<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict())?;
        for locked in [true, false] {
            let runs = self.interleavings.iter().filter(|run| run.locked == locked);
            let (all, races) = (runs.count(), self.races(locked).count());
            let lock = if locked {
                "with the lock"
            } else {
                "without it"
            };
            writeln!(
                f,
                "  {lock}: {} of {all} interleavings are serial",
                all - races
            )?;
        }
        // The worst news first; one of its kind is enough.
        let shown = self.races(true).next().or_else(|| self.races(false).next());
        match shown {
            Some(run) => self.describe(run, f),
            None => Ok(()),
        }
    }
}

impl<O: Eq + Debug> Proof<O> {
    fn describe(&self, run: &Interleaving<O>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serial = &self.serial[run.pair];
        let [operation, rival] = &serial.names;
        let lock = if run.locked { "With" } else { "Without" };
        writeln!(
            f,
            "\n{lock} the lock, {rival} before `{}` of {operation}:\n",
            run.before
        )?;
        writeln!(f, "{}", run.script)?;
        writeln!(f, "  comes to {}", run.outcome.text(&serial.names))?;
        let orders = [(operation, rival), (rival, operation)];
        for ((first, second), outcome) in orders.into_iter().zip(&serial.outcomes) {
            let outcome = outcome.text(&serial.names);
            writeln!(f, "  {first}, then {second}: {outcome}")?;
        }
        Ok(())
    }
}

impl<O: Debug> Outcome<O> {
    fn text(&self, names: &[String; 2]) -> String {
        let mut text = format!("{:?}", self.state);
        for (name, result) in names.iter().zip(&self.results) {
            text += &match result {
                Ok(value) => format!("; {name} returned {value}"),
                Err(error) => format!("; {name} failed: {error}"),
            };
        }
        text
    }
}
