//! A proxy on loopback that counts round trips, and that cuts connections.

mod framing;
mod relay;

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Where a connection is cut, seen from a message of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server never hears of it.
    Before,
    /// The server hears of it, and is then alone.
    Behind,
    /// The server has answered, and the client never hears of it.
    BeforeAnswer,
    /// As a proxy does that has lost its server: it answers the client itself, by an error, and has
    /// another session from then on.
    Answered,
}

/// By which word of TCP both sides learn of the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Fin,
    Rst,
}

impl Cut {
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::Behind, Self::BeforeAnswer];
}

impl Word {
    pub(crate) const ALL: [Self; 2] = [Self::Fin, Self::Rst];
}

/// Which message it is that a connection is cut at.
pub(crate) enum Rule {
    None,
    /// The one with a `COMMIT`.
    Commit(Cut),
    /// The one of this number, from 0, since the rule was laid down.
    Number(usize, Cut, Word),
    /// About one in so many.
    OneIn(u32, Box<StdRng>),
}

impl Rule {
    pub(crate) fn one_in(number: u32, seed: u64) -> Self {
        Self::OneIn(number, Box::new(StdRng::seed_from_u64(seed)))
    }
}

/// What a message of the client has to do with a `COMMIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    No,
    /// It is prepared (MySQL's protocol).
    IsPrepared,
    Runs,
}

/// A message of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) commits: bool,
    /// The server spoke before the next one.
    pub(crate) answered: bool,
}

/// Forwards connections to a server.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    log: Arc<Log>,
}

/// What has gone over all connections of a wire.
#[derive(Default)]
struct Log(Mutex<Entries>);

struct Entries {
    rule: Rule,
    /// Since the rule was laid down.
    messages: Vec<Message>,
    /// How often the client spoke after the server had spoken.
    round_trips: usize,
    client_speaks: bool,
    cuts: u64,
    closed: bool,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            rule: Rule::None,
            messages: Vec::new(),
            round_trips: 0,
            client_speaks: false,
            cuts: 0,
            closed: false,
        }
    }
}

impl Wire {
    pub(crate) fn to(server: &str) -> Self {
        let server = server.to_socket_addrs().unwrap().next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let shared = Arc::clone(&log);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.entries().closed {
                    break;
                }
                // A server that is down is as silent as one that is there no more.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                    continue;
                };
                let log = Arc::clone(&shared);
                thread::spawn(move || relay::relay(client, server, &log));
            }
        });
        Self { address, log }
    }

    /// Cuts each connection at its first `COMMIT`.
    pub(crate) fn that_cuts(server: &str, cut: Cut) -> Self {
        let wire = Self::to(server);
        wire.lay_down(Rule::Commit(cut));
        wire
    }

    pub(crate) fn lay_down(&self, rule: Rule) {
        let mut entries = self.log.entries();
        entries.rule = rule;
        entries.messages.clear();
    }

    /// What the client has said since the rule was laid down.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.log.entries().messages.clone()
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.log.entries().cuts
    }

    /// The round trips that `act` takes.
    pub(crate) fn round_trips(&self, act: impl FnOnce()) -> usize {
        let before = self.log.entries().round_trips;
        act();
        self.log.entries().round_trips - before
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.log.entries().closed = true;
        // Whoever waits for a connection is to see it.
        let _ = TcpStream::connect(self.address);
    }
}

impl Log {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before it is passed on: nobody can answer what has not arrived. Says whether to cut here.
    fn client_says(&self, commit: Commit) -> Option<(Cut, Word)> {
        let mut entries = self.entries();
        if !entries.client_speaks {
            entries.round_trips += 1;
        }
        entries.client_speaks = true;
        let number = entries.messages.len();
        entries.messages.push(Message {
            commits: commit != Commit::No,
            answered: false,
        });
        let cut = match &mut entries.rule {
            Rule::Commit(cut) if commit == Commit::Runs => Some((*cut, Word::Fin)),
            Rule::Number(wanted, cut, word) if *wanted == number => Some((*cut, *word)),
            Rule::OneIn(messages, rng) => rng
                .random_ratio(1, *messages)
                .then(|| Some((*Cut::ALL.choose(rng)?, *Word::ALL.choose(rng)?)))
                .flatten(),
            _ => None,
        };
        entries.cuts += u64::from(cut.is_some());
        cut
    }

    fn server_says(&self) {
        let mut entries = self.entries();
        entries.client_speaks = false;
        if let Some(message) = entries.messages.last_mut() {
            message.answered = true;
        }
    }
}
