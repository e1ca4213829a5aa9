//! [`Proof`]: what every interleaving came to, and the verdict against each rival.

use std::fmt::Debug;

use super::player::Ended;
use super::Script;

/// What the interleavings show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// There is a race, and the lock cures it: every interleaving is serial with the lock in, and
    /// at least one is not without it.
    Cured,
    /// There is a race with the lock in.
    Racy,
    /// Every interleaving is serial, with the lock and without it: there is no race to cure here,
    /// or no lock of this library that could be taken out. Such a test proves nothing.
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

/// An outcome, and the part of its results that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compared<O> {
    pub(super) outcome: Outcome<O>,
    pub(super) results: Vec<String>,
}

impl<O: Eq> Compared<O> {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.results == other.results && self.outcome.state == other.outcome.state
    }
}

/// One run with one of the two operations between two statements of the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interleaving<O> {
    pub(super) rival: usize,
    pub(super) serial: bool,
    /// The operation that was played statement by statement, by its name: the one under test, or
    /// the rival.
    pub stepped: String,
    /// The statement of the stepped operation before which the other operation ran.
    pub before: String,
    /// Whether the locking clauses were in.
    pub locked: bool,
    /// What it came to.
    pub outcome: Outcome<O>,
    /// Its statements.
    pub script: Script,
}

/// The two serial orders of the operation and a rival: this order, and the reverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Serial<O> {
    pub(super) names: [String; 2],
    pub(super) outcomes: [Compared<O>; 2],
}

/// All runs of a [`Race`](super::Race), against all its rivals. Its `Display` is a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof<O> {
    serial: Vec<Serial<O>>,
    interleavings: Vec<Interleaving<O>>,
}

/// The runs of a [`Race`](super::Race) against one of its rivals, of [`Proof::rivals`]. Its
/// `Display` is a report.
#[derive(Debug, Clone, Copy)]
pub struct RivalProof<'p, O> {
    proof: &'p Proof<O>,
    rival: usize,
}

impl<O> Default for Proof<O> {
    fn default() -> Self {
        Self {
            serial: Vec::new(),
            interleavings: Vec::new(),
        }
    }
}

impl<O> Proof<O> {
    /// The number of the rival.
    pub(super) fn add_rival(&mut self, serial: Serial<O>) -> usize {
        self.serial.push(serial);
        self.serial.len() - 1
    }

    pub(super) fn add(&mut self, interleaving: Interleaving<O>) {
        self.interleavings.push(interleaving);
    }

    pub(super) fn is_serial(&self, rival: usize, run: &Compared<O>) -> bool
    where
        O: Eq,
    {
        let orders = &self.serial[rival].outcomes;
        orders.iter().any(|order| order.is_same(run))
    }

    /// The worst verdict of all rivals: [`Racy`](Verdict::Racy) if there is a race against one of
    /// them, [`Cured`](Verdict::Cured) only if the lock cures a race against each of them.
    pub fn verdict(&self) -> Verdict {
        let has = |verdict| self.rivals().any(|rival| rival.verdict() == verdict);
        if has(Verdict::Racy) {
            Verdict::Racy
        } else if has(Verdict::NoRaceToCure) {
            Verdict::NoRaceToCure
        } else {
            Verdict::Cured
        }
    }

    /// What is proven against each rival, in the order in which they were given.
    pub fn rivals(&self) -> impl Iterator<Item = RivalProof<'_, O>> {
        let rivals = 0..self.serial.len();
        rivals.map(|rival| RivalProof { proof: self, rival })
    }

    /// Every run but the serial ones, against all rivals.
    pub fn interleavings(&self) -> &[Interleaving<O>] {
        &self.interleavings
    }

    /// The interleavings whose outcome is the outcome of no serial order, with the lock in or
    /// without it.
    pub fn races(&self, locked: bool) -> impl Iterator<Item = &Interleaving<O>> {
        let runs = self.interleavings.iter();
        runs.filter(move |run| run.locked == locked && !run.serial)
    }
}

impl<O: Debug> Proof<O> {
    /// For a test.
    ///
    /// # Panics
    ///
    /// With the report, unless the verdict against each rival is [`Verdict::Cured`].
    #[track_caller]
    pub fn assert_cured(&self) {
        let verdict = self.verdict();
        assert!(verdict == Verdict::Cured, "{self}");
    }
}

impl<'p, O> RivalProof<'p, O> {
    /// The name of the rival.
    pub fn name(&self) -> &'p str {
        &self.serial().names[1]
    }

    /// What the interleavings with this rival show.
    pub fn verdict(&self) -> Verdict {
        if self.races(true).next().is_some() {
            Verdict::Racy
        } else if self.races(false).next().is_some() {
            Verdict::Cured
        } else {
            Verdict::NoRaceToCure
        }
    }

    /// Every run with this rival but the serial ones.
    pub fn interleavings(&self) -> impl Iterator<Item = &'p Interleaving<O>> {
        let rival = self.rival;
        let runs = self.proof.interleavings.iter();
        runs.filter(move |run| run.rival == rival)
    }

    /// The interleavings with this rival whose outcome is the outcome of no serial order, with the
    /// lock in or without it.
    pub fn races(&self, locked: bool) -> impl Iterator<Item = &'p Interleaving<O>> {
        let rival = self.rival;
        let runs = self.proof.races(locked);
        runs.filter(move |run| run.rival == rival)
    }

    pub(super) fn serial(&self) -> &'p Serial<O> {
        &self.proof.serial[self.rival]
    }
}
