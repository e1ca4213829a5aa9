//! What the clients were told against what the pots have.

use std::collections::BTreeMap;

use super::super::oracle::{Kind, Violation};
use super::pots::Logs;

/// One call, by the words of its client.
#[derive(Debug, Default)]
pub(crate) struct Deed {
    pub(crate) op: String,
    how: String,
    pots: Vec<i32>,
    pub(crate) end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// The call has not returned.
    #[default]
    None,
    Ok,
    Refused(String),
    InDoubt {
        /// By the commit token.
        resolved: Option<bool>,
        why: String,
    },
    Escaped(String),
}

/// All that the clients have said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) deeds: BTreeMap<String, Deed>,
    pub(crate) violations: Vec<Violation>,
}

impl Told {
    pub(crate) fn hear(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (op, what, rest) = (word(), word(), word());
        let deed = self.deeds.entry(op.to_owned()).or_default();
        match what {
            "begins" => {
                let mut rest = rest.split(' ');
                deed.op = op.to_owned();
                deed.how = rest.next().unwrap_or_default().to_owned();
                deed.pots = rest.map(|pot| pot.parse().unwrap()).collect();
            }
            "ok" => deed.end = End::Ok,
            "refused" => deed.end = End::Refused(rest.to_owned()),
            "doubt" => {
                let (resolved, why) = rest.split_once(' ').unwrap();
                let resolved = match resolved {
                    "committed" => Some(true),
                    "not" => Some(false),
                    _ => None,
                };
                deed.end = End::InDoubt {
                    resolved,
                    why: why.to_owned(),
                };
            }
            "escaped" => deed.end = End::Escaped(rest.to_owned()),
            "leaked" => {
                let what = format!("{line}: {deed:?}");
                self.violations.push(Violation {
                    kind: Kind::Leak,
                    what,
                });
            }
            _ => panic!("{line}"),
        }
    }

    /// A client did not end. What it was in when it fell silent?
    pub(crate) fn hung(&mut self, client: u64) {
        let its = format!("{client}-");
        let open = self.deeds.values().filter(|deed| deed.end == End::None);
        let calls: Vec<_> = open.filter(|deed| deed.op.starts_with(&its)).collect();
        let what = format!("client {client} in {calls:?}");
        self.violations.push(Violation {
            kind: Kind::Hang,
            what,
        });
    }

    pub(crate) fn judge(mut self, logs: &Logs) -> Judged {
        for deed in self.deeds.values() {
            if let Some(kind) = deed.judge(logs) {
                self.violations.push(Violation {
                    kind,
                    what: format!("{deed:?}"),
                });
            }
        }
        for (pot, log) in logs {
            for op in log.keys() {
                let ordered = self
                    .deeds
                    .get(op)
                    .is_some_and(|deed| deed.pots.contains(pot));
                if !ordered {
                    self.violations.push(Violation {
                        kind: Kind::NotRefused,
                        what: format!("no call put {op} into pot {pot}"),
                    });
                }
            }
        }
        Judged {
            deeds: self.deeds.into_values().collect(),
            violations: self.violations,
        }
    }
}

impl Deed {
    fn judge(&self, logs: &Logs) -> Option<Kind> {
        let count = |pot| logs.get(pot).and_then(|log| log.get(&self.op)).copied();
        let counts: Vec<_> = self
            .pots
            .iter()
            .map(|pot| count(pot).unwrap_or(0))
            .collect();
        let (all, none) = (
            counts.iter().all(|count| *count == 1),
            counts.iter().all(|count| *count == 0),
        );
        match &self.end {
            End::Escaped(_) => Some(Kind::Escape),
            End::Ok if none => Some(Kind::Lost),
            End::Refused(_) if !none => Some(Kind::NotRefused),
            _ if !all && !none => Some(Kind::NotOnce),
            End::InDoubt {
                resolved: Some(committed),
                ..
            } if *committed != all => Some(Kind::WrongResolution),
            _ => None,
        }
    }
}

/// A storm that is over.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) violations: Vec<Violation>,
}

impl Judged {
    pub(crate) fn count(&self, what: impl Fn(&End) -> bool) -> usize {
        self.deeds.iter().filter(|deed| what(&deed.end)).count()
    }

    /// How many violations of each kind.
    pub(crate) fn kinds(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for violation in &self.violations {
            *kinds.entry(violation.kind).or_default() += 1;
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds found where the client says `lines` and these operations are in pots 1 and 2.
    fn found(lines: &[&str], pots: [&[&str]; 2]) -> Vec<Kind> {
        let mut told = Told::default();
        for line in lines {
            told.hear(line);
        }
        let logs = (1..).zip(pots).map(|(pot, ops)| {
            let mut log = BTreeMap::new();
            for op in ops {
                *log.entry((*op).to_owned()).or_default() += 1;
            }
            (pot, log)
        });
        told.judge(&logs.collect()).kinds().into_keys().collect()
    }

    #[test]
    fn true_words_are_not_named() {
        let lines = [
            "1-1 begins Plain 1",
            "1-1 ok",
            "1-2 begins Nested 1 2",
            "1-2 ok",
            "1-3 begins Nested 1 2",
            "1-3 refused Cancelled",
            "1-4 begins Token 2",
            "1-4 doubt committed CommitUnknown",
            "1-5 begins Token 2",
            "1-5 doubt not CommitUnknown",
            "1-6 begins Queue 2",
            "1-6 doubt unresolved CommitUnknown",
            "1-7 begins Plain 2",
        ];
        assert_eq!(found(&lines, [&["1-1", "1-2"], &["1-2", "1-4"]]), []);
        assert_eq!(
            found(&lines, [&["1-1", "1-2"], &["1-2", "1-4", "1-6", "1-7"]]),
            []
        );
    }

    #[test]
    fn each_false_word_is_named() {
        let nested = ["1-1 begins Nested 1 2", "1-1 ok"];
        assert_eq!(found(&nested, [&[], &[]]), [Kind::Lost]);
        assert_eq!(found(&nested, [&["1-1"], &[]]), [Kind::NotOnce]);
        assert_eq!(found(&nested, [&["1-1"], &["1-1", "1-1"]]), [Kind::NotOnce]);
        let refused = ["1-1 begins Nested 1 2", "1-1 refused Cancelled"];
        assert_eq!(found(&refused, [&[], &["1-1"]]), [Kind::NotRefused]);
        let token = ["1-1 begins Token 1", "1-1 doubt not CommitUnknown"];
        assert_eq!(found(&token, [&["1-1"], &[]]), [Kind::WrongResolution]);
        let token = ["1-1 begins Token 1", "1-1 doubt committed CommitUnknown"];
        assert_eq!(found(&token, [&[], &[]]), [Kind::WrongResolution]);
        let escaped = ["1-1 begins Plain 1", "1-1 escaped Escaped"];
        assert_eq!(found(&escaped, [&[], &[]]), [Kind::Escape]);
        let leaked = ["1-1 begins Plain 1", "1-1 ok", "1-1 leaked 0 7 not 1 7"];
        assert_eq!(found(&leaked, [&["1-1"], &[]]), [Kind::Leak]);
        assert_eq!(found(&[], [&["1-1"], &[]]), [Kind::NotRefused]);
        assert_eq!(found(&nested[..1], [&["1-1"], &[]]), [Kind::NotOnce]);
    }
}
