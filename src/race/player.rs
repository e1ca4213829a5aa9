//! Players, each with a connection and a thread of its own, who stop at gates: before every
//! statement that they send, or at the steps that they name.

use std::any::Any;
use std::fmt::{self, Debug, Display};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::Arc;
use std::thread;

use diesel::connection::{Connection, Instrumentation, InstrumentationEvent};

use super::unseen::watch_new_connections;
use crate::played;

/// How a player's part ended: what it returned, or its error.
pub(crate) type Ended = Result<String, String>;

pub(super) fn ended<T: Debug, E: Display>(result: Result<T, E>) -> Ended {
    match result {
        Ok(value) => Ok(format!("{value:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Where a player stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stops {
    BeforeEveryStatement,
    AtSteps,
    /// Only before its part.
    Nowhere,
}

type Play<'a, C> = Box<dyn FnOnce(&mut C, &Steps) -> Ended + Send + 'a>;

/// What a player does.
pub(super) struct Part<'a, C> {
    pub(super) name: &'a str,
    pub(super) stops: Stops,
    pub(super) play: Play<'a, C>,
}

pub(super) enum Message {
    Stands(String),
    Sends(String),
    HasAnswer(Option<String>),
    /// Its part does something that can't be seen.
    HidesWork(&'static str),
    IsDone(Ended),
}

/// A player's line to the director.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) who: usize,
    pub(super) outbox: Sender<(usize, Message)>,
    /// The director has given up.
    pub(super) over: Arc<AtomicBool>,
}

impl Line {
    /// Tells the director. Unwinds out of the part if the director has given up.
    fn tell(&self, message: Message) {
        if self.outbox.send((self.who, message)).is_err() {
            self.over.store(true, Ordering::SeqCst);
        }
        self.leave_if_over();
    }

    /// Unwinds out of the part if the director has given up: a part that polls would otherwise
    /// never end, and the prover could not return.
    ///
    /// Not while the thread unwinds already: what the part still sends then is its rollback.
    fn leave_if_over(&self) {
        // `SeqCst`, as with each use of it: the flag is read once a statement, where a cheaper
        // order saves nothing.
        if self.over.load(Ordering::SeqCst) && !thread::panicking() {
            // Without the panic hook, which would print a message.
            resume_unwind(Box::new("the race is over"));
        }
    }
}

/// Where a player stands until the director lets it go on.
pub(super) struct Gate {
    pub(super) line: Line,
    pub(super) open: Receiver<()>,
}

impl Gate {
    fn stop(&self, before: String) {
        self.line.tell(Message::Stands(before));
        if self.open.recv().is_err() {
            // The director has left, and nobody else opens the gate.
            self.line.over.store(true, Ordering::SeqCst);
        }
        self.line.leave_if_over();
    }
}

/// The steps of a session of a [`Schedule`](super::Schedule).
#[derive(Debug)]
pub struct Steps(Option<Gate>);

impl Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Steps {
    /// Waits for the turn of the step of this name. What follows, up to the next one, is the step.
    pub fn next(&self, name: &str) {
        if let Some(gate) = &self.0 {
            gate.stop(name.to_owned());
        }
    }
}

/// Sees every statement of a player's connection.
struct Hook {
    line: Line,
    gate: Option<Gate>,
}

impl Instrumentation for Hook {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                played::statement_seen();
                match &self.gate {
                    Some(gate) => gate.stop(query.to_string()),
                    None => self.line.tell(Message::Sends(query.to_string())),
                }
            }
            // No unwinding here: the answer is the library's to judge.
            InstrumentationEvent::FinishQuery { error, .. } => {
                let answer = Message::HasAnswer(error.map(ToString::to_string));
                let _ = self.line.outbox.send((self.line.who, answer));
            }
            _ => {}
        }
    }
}

impl Drop for Hook {
    // As long as the part runs. At its end no report is set any more.
    fn drop(&mut self) {
        played::unseen("replaces its connection or the `Instrumentation` of it");
    }
}

/// Plays a part, on the thread that is its own, and tells of everything that happens.
pub(super) fn perform<C: Connection>(mut conn: C, part: Part<'_, C>, gate: Gate) {
    let line = gate.line.clone();
    // A panic of the part is an ending like others, to be compared. It must not reach the scope,
    // which would panic too and lose the script.
    let played = catch_unwind(AssertUnwindSafe(|| {
        gate.stop(String::new());
        let (at_statements, at_steps) = match part.stops {
            Stops::BeforeEveryStatement => (Some(gate), None),
            Stops::AtSteps => (None, Some(gate)),
            Stops::Nowhere => (None, None),
        };
        conn.set_instrumentation(Hook {
            line: line.clone(),
            gate: at_statements,
        });
        let steps = Steps(at_steps);
        let report = {
            let line = line.clone();
            Box::new(move |work| line.tell(Message::HidesWork(work)))
        };
        watch_new_connections();
        played::with_report(report, || (part.play)(&mut conn, &steps))
    }));
    let played = played.unwrap_or_else(|panic| Err(words_of(&*panic)));
    // What it has left open ends before it is done. The connection may be a pool's, which lends it
    // to others.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // Without the hook: a rollback on the way must not stop at a gate.
        conn.set_instrumentation(|_: InstrumentationEvent<'_>| {});
        drop(conn);
    }));
    let _ = line.outbox.send((line.who, Message::IsDone(played)));
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", words.unwrap_or("without words"))
}
