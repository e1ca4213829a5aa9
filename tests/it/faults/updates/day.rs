//! A crew's day that is over: what the calls returned against what the pots have.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::super::day::Line;
use super::super::kills::pots::{Pot, Saver};
use super::super::oracle::{Kind, Violation};
use super::crew::{Crew, Deed, End};

#[derive(Debug)]
pub(crate) struct Day {
    pub(crate) deeds: Vec<Deed>,
    pots: Vec<Pot>,
    faults: u64,
    server: String,
    seed: u64,
}

impl Day {
    /// Reads the pots when no session of the crew is left: one that was cut off may still write.
    pub(crate) fn closed<C: Saver>(crew: &Crew, deeds: Vec<Deed>, faults: u64) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (pots, server) = loop {
            let read = C::open(&crew.office)
                .map_err(|error| error.to_string())
                .and_then(|mut conn| read_alone(&mut conn, &crew.name));
            match read {
                Ok(read) => break read,
                Err(error) => assert!(Instant::now() < deadline, "no pots: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Self {
            deeds,
            pots,
            faults,
            server,
            seed: crew.seed,
        }
    }

    pub(crate) fn count(&self, what: impl Fn(&End) -> bool) -> usize {
        self.deeds.iter().filter(|deed| what(&deed.end)).count()
    }

    pub(crate) fn in_doubt_but_absent(&self) -> usize {
        let is_absent = |deed: &&Deed| {
            let mut pots = self.pots.iter();
            let pot = pots.find(|pot| pot.id == deed.pot).unwrap();
            deed.end == End::InDoubt && pot.log.split_whitespace().all(|op| op != deed.op)
        };
        self.deeds.iter().filter(is_absent).count()
    }

    fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut ops: HashMap<&str, &Deed> = HashMap::new();
        for deed in &self.deeds {
            ops.insert(&deed.op, deed);
        }
        for pot in &self.pots {
            for op in pot.log.split_whitespace() {
                if ops.get(op).is_none_or(|deed| deed.pot != pot.id) {
                    let what = format!("no call put {op} into pot {}", pot.id);
                    let kind = Kind::NotRefused;
                    found.push(Violation { kind, what });
                }
            }
            found.extend(self.violations_in(pot));
        }
        found
    }

    fn violations_in(&self, pot: &Pot) -> Vec<Violation> {
        let deeds = || self.deeds.iter().filter(|deed| deed.pot == pot.id);
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for op in pot.log.split_whitespace() {
            *counts.entry(op).or_default() += 1;
        }
        // How far the log went when a call ended.
        let mut acked: Vec<(Instant, usize)> = deeds()
            .filter_map(|deed| match deed.end {
                End::Acked(seen) => Some((deed.ended, seen.length + deed.op.len() + 1)),
                _ => None,
            })
            .collect();
        acked.sort_unstable();
        let mut longest = 0;
        for (_, length) in &mut acked {
            longest = longest.max(*length);
            *length = longest;
        }
        let known_by = |moment: Instant| {
            let earlier = acked.partition_point(|(ended, _)| *ended < moment);
            earlier.checked_sub(1).map_or(0, |last| acked[last].1)
        };
        let wrong = deeds().filter_map(|deed| {
            let count = counts.get(&*deed.op).copied().unwrap_or_default();
            let kind = match (&deed.end, count) {
                (_, 2..) => Kind::NotOnce,
                (End::Acked(_), 0) => Kind::Lost,
                (End::Refused(_) | End::Regretted(_), 1) => Kind::NotRefused,
                (End::Escaped(_), _) => Kind::Escape,
                (End::Acked(seen), _) => match seen.rest_of(&pot.log) {
                    Some(rest) if rest.split_whitespace().next() == Some(&deed.op) => return None,
                    _ => Kind::BrokenChain,
                },
                (End::Regretted(seen), _) if seen.rest_of(&pot.log).is_none() => Kind::BrokenChain,
                (End::Regretted(seen), _) if seen.length < known_by(deed.begun) => Kind::Stale,
                _ => return None,
            };
            let what = format!("{deed:?}");
            Some(Violation { kind, what })
        });
        wrong.collect()
    }

    /// How many violations of each kind.
    pub(crate) fn kinds(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for violation in self.violations() {
            *kinds.entry(violation.kind).or_default() += 1;
        }
        kinds
    }

    /// The promise holds, and something has happened.
    pub(crate) fn assert_right(&self, fault: &str) {
        let violations = self.violations();
        let kinds = self.kinds();
        let doubts = self.count(|end| *end == End::InDoubt);
        Line {
            fault,
            server: &self.server,
            faults: self.faults,
            deeds: self.deeds.len(),
            acked: self.count(|end| matches!(end, End::Acked(_))),
            lost: kinds.get(&Kind::Lost).copied().unwrap_or_default(),
            false_ok: 0,
            in_doubt: doubts,
            // The pots say it, now that the sessions are over.
            resolved: doubts,
            wrong: violations.len(),
            seed: self.seed,
        }
        .report();
        let few = &violations[..violations.len().min(5)];
        let seed = self.seed;
        assert!(
            violations.is_empty(),
            "{fault}, seed {seed}: {kinds:?}, such as {few:#?}"
        );
        assert!(self.faults > 0, "{fault}: no fault was injected");
        let is_written = self.pots.iter().any(|pot| !pot.log.is_empty());
        assert!(is_written, "{fault}: nothing was done");
    }
}

fn read_alone<C: Saver>(conn: &mut C, name: &str) -> Result<(Vec<Pot>, String), String> {
    let error = |error: diesel::result::Error| error.to_string();
    let others = conn.list(name).map_err(error)?;
    if !others.is_empty() {
        return Err(format!("sessions {others:?} are still there"));
    }
    Ok((conn.pots().map_err(error)?, conn.server().map_err(error)?))
}
