//! [`Pair`]: an operation and one of its rivals, in every order of their statements.

use std::fmt::Debug;

use diesel::result::ConnectionResult;

use super::limits::Deadline;
use super::player::{Part, Stops};
use super::proof::{Compared, Interleaving, Outcome, Proof, Serial};
use super::prover::{Operation, Race};
use super::script::one_line;
use super::stage::play;
use super::{RaceError, Script, Watch};
use crate::connection::LockConnection;
use crate::sql::ablation::without_locks;

pub(super) struct Rival<'p, 'a, C> {
    name: &'p str,
    /// `None` for the operation under test itself.
    operation: Option<&'p Operation<'a, C>>,
}

impl<'p, 'a, C> Rival<'p, 'a, C> {
    pub(super) fn itself(name: &'p str) -> Self {
        Self {
            name,
            operation: None,
        }
    }

    pub(super) fn other(name: &'p str, operation: &'p Operation<'a, C>) -> Self {
        Self {
            name,
            operation: Some(operation),
        }
    }
}

/// The operation and one of its rivals.
pub(super) struct Pair<'p, 'a, C, O> {
    pub(super) race: &'p Race<'a, C>,
    pub(super) rival: Rival<'p, 'a, C>,
    /// When the time for all runs is over.
    pub(super) end: Deadline,
    pub(super) connect: &'p dyn Fn() -> ConnectionResult<C>,
    pub(super) observe: &'p dyn Fn(&mut C) -> Result<O, RaceError>,
}

/// When the other player comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    First,
    /// After this many statements of the one who is stepped.
    After(usize),
    Last,
}

/// The players by number.
const OPERATION: usize = 0;
const RIVAL: usize = 1;

struct Run<O> {
    compared: Compared<O>,
    script: Script,
    /// The statement that the other player came before; `None` if the one who is stepped had ended
    /// by then.
    before: Option<String>,
}

impl<C, O> Pair<'_, '_, C, O>
where
    C: LockConnection<Backend: Watch> + Send,
    O: Eq + Debug,
{
    pub(super) fn prove(&self, proof: &mut Proof<O>) -> Result<(), RaceError> {
        let names = self.names().map(str::to_owned);
        let rival = proof.add_rival(Serial {
            names: names.clone(),
            outcomes: self.serial()?,
        });
        // The roles of an operation and itself are the same.
        let stepped = match self.rival.operation {
            Some(_) => &[OPERATION, RIVAL][..],
            None => &[OPERATION],
        };
        for &stepped in stepped {
            for locked in [true, false] {
                // After its last statement would be serial. Before its first one is not, if it has
                // looked at something by then that no statement shows, a cache for instance.
                for statements in 0.. {
                    let run = self.run(stepped, Comes::After(statements), locked)?;
                    let Some(before) = run.before else { break };
                    proof.add(Interleaving {
                        rival,
                        serial: proof.is_serial(rival, &run.compared),
                        stepped: names[stepped].clone(),
                        before,
                        locked,
                        outcome: run.compared.outcome,
                        script: run.script,
                    });
                }
            }
        }
        Ok(())
    }

    /// What both serial orders come to, with the lock and without it.
    ///
    /// An order that comes to something else when it is played again would make every interleaving
    /// look like a race. An operation that does something else when its lock is taken out would
    /// make every interleaving without the lock look like one, and the lock like its cure.
    fn serial(&self) -> Result<[Compared<O>; 2], RaceError> {
        let orders = |locked| {
            let first = self.run(OPERATION, Comes::Last, locked)?.compared;
            let second = self.run(OPERATION, Comes::First, locked)?.compared;
            Ok([first, second])
        };
        let names = self.names().map(str::to_owned);
        let [operation, rival] = &names;
        let both = |one: &Compared<O>, other: &Compared<O>| {
            Box::new([one.outcome.text(&names), other.outcome.text(&names)])
        };
        let serial: [_; 2] = orders(true)?;
        // An outcome that differs without a rival, by a time or a random value, would make each
        // interleaving look racy.
        let again = self.run(OPERATION, Comes::Last, true)?.compared;
        if !serial[0].is_same(&again) {
            return Err(RaceError::NotRepeatable {
                first: operation.clone(),
                second: rival.clone(),
                outcomes: both(&serial[0], &again),
            });
        }
        for (number, without) in orders(false)?.iter().enumerate() {
            if !serial[number].is_same(without) {
                return Err(RaceError::NotTheSameWithoutLock {
                    first: names[number].clone(),
                    second: names[1 - number].clone(),
                    outcomes: both(&serial[number], without),
                });
            }
        }
        Ok(serial)
    }

    /// One run, in which `stepped` stops before each statement, and the other player runs as far as
    /// it can when it comes.
    fn run(&self, stepped: usize, comes: Comes, locked: bool) -> Result<Run<O>, RaceError> {
        let other = 1 - stepped;
        let mut watcher = (self.connect)().map_err(RaceError::Connect)?;
        // Each run begins from the same rows.
        (self.race.setup)(&mut watcher).map_err(RaceError::Setup)?;
        let mut before = None;
        let (script, results) = play(
            self.connect,
            &mut watcher,
            self.race.limits,
            self.end,
            self.parts(stepped, locked),
            |director| {
                if comes == Comes::First {
                    return director.go(other);
                }
                director.go(stepped)?;
                let mut sent = 0;
                while director.stands(stepped).is_some() && comes != Comes::After(sent) {
                    director.go(stepped)?;
                    sent += 1;
                }
                before = director.stands(stepped).map(one_line);
                director.go(other)
            },
        )?;
        let outcome = Outcome {
            state: (self.observe)(&mut watcher)?,
            results,
        };
        let compared = outcome
            .results
            .iter()
            .map(|result| (self.race.compared)(result));
        Ok(Run {
            compared: Compared {
                results: compared.collect(),
                outcome,
            },
            script,
            before,
        })
    }

    fn names(&self) -> [&str; 2] {
        [self.race.name, self.rival.name]
    }

    /// The operation under test is without its lock in both parts that it has.
    fn parts(&self, stepped: usize, locked: bool) -> Vec<Part<'_, C>> {
        let under_test = match &self.race.by_hand {
            Some(by_hand) if !locked => by_hand,
            _ => &self.race.operation,
        };
        let rival = (self.rival.operation).map_or((under_test, locked), |rival| (rival, true));
        let part = |who, (operation, locked)| {
            let operation: &Operation<'_, C> = operation;
            Part {
                name: self.names()[who],
                stops: if who == stepped {
                    Stops::BeforeEveryStatement
                } else {
                    Stops::Nowhere
                },
                play: Box::new(move |conn, _| {
                    if locked {
                        operation(conn)
                    } else {
                        without_locks(|| operation(conn))
                    }
                }),
            }
        };
        vec![part(OPERATION, (under_test, locked)), part(RIVAL, rival)]
    }
}
