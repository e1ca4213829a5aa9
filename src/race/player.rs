//! Players, each with a connection and a thread of its own, who stop at gates: before every
//! statement that they send, or at the steps that they name.

use std::any::Any;
use std::fmt::{self, Debug, Display};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, Sender};

use diesel::connection::{Connection, Instrumentation, InstrumentationEvent};

/// How a player's part ended: what it returned, or its error.
pub type Ended = Result<String, String>;

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
    IsDone(Ended),
}

pub(super) type Outbox = Sender<(usize, Message)>;

/// Where a player stands until the director lets it go on.
pub(super) struct Gate {
    pub(super) who: usize,
    pub(super) outbox: Outbox,
    pub(super) open: Receiver<()>,
}

impl Gate {
    /// `false` if the director has left.
    fn stop(&self, before: String) -> bool {
        let message = (self.who, Message::Stands(before));
        self.outbox.send(message).is_ok() && self.open.recv().is_ok()
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
    who: usize,
    outbox: Outbox,
    gate: Option<Gate>,
}

impl Instrumentation for Hook {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let message = match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                let sql = query.to_string();
                let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
                if let Some(gate) = &self.gate {
                    gate.stop(sql);
                    return;
                }
                Message::Sends(sql)
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                Message::HasAnswer(error.map(ToString::to_string))
            }
            _ => return,
        };
        // The director may have left.
        let _ = self.outbox.send((self.who, message));
    }
}

/// Plays a part, on the thread that is its own, and tells of everything that happens.
pub(super) fn perform<C: Connection>(mut conn: C, part: Part<'_, C>, gate: Gate) {
    let (who, outbox) = (gate.who, gate.outbox.clone());
    if !gate.stop(String::new()) {
        return;
    }
    let (at_statements, at_steps) = match part.stops {
        Stops::BeforeEveryStatement => (Some(gate), None),
        Stops::AtSteps => (None, Some(gate)),
        Stops::Nowhere => (None, None),
    };
    conn.set_instrumentation(Hook {
        who,
        outbox: outbox.clone(),
        gate: at_statements,
    });
    let steps = Steps(at_steps);
    let ended = catch_unwind(AssertUnwindSafe(|| (part.play)(&mut conn, &steps)));
    let ended = ended.unwrap_or_else(|panic| Err(words_of(&*panic)));
    // What it has left open ends before it is done.
    drop(conn);
    // The director may have left.
    let _ = outbox.send((who, Message::IsDone(ended)));
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", words.unwrap_or("without words"))
}
