//! The promises, which hold in every state, and the events that some state must contain: without
//! them a promise could hold because nothing happens.

use stateright::{Model, Property};

use crate::client::{Batch, Kind, Reply};
use crate::server::Change;
use crate::{Action, Protocol, State};

pub const SERIAL: &str = "the history is a serial execution of whole changes";
pub const OK: &str = "a change with `Ok` is in the row, unless a restart has lost it since";
pub const DURABLE: &str = "a synchronous server loses no change with `Ok`";
pub const NOT_APPLIED: &str = "a change that was refused or not applied is not in the row";
pub const FIRM: &str = "no error of a closure comes from a stale row";
pub const TWICE: &str = "no closure runs more than twice";
pub const ENDS: &str = "every call ends";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        always(SERIAL, |_, state| is_serial(state)),
        always(OK, |_, state| {
            replied(state, Reply::Ok)
                .all(|change| contains(state, change) || state.forgiven.contains(&change))
        }),
        always(DURABLE, |model, state| {
            model.asynchronous || state.forgiven.is_empty()
        }),
        always(NOT_APPLIED, |_, state| {
            replied(state, Reply::NotApplied)
                .chain(replied(state, Reply::Refused { firm: true }))
                .all(|change| !contains(state, change))
        }),
        always(FIRM, |_, state| {
            replied(state, Reply::Refused { firm: false })
                .next()
                .is_none()
        }),
        always(TWICE, |_, state| {
            batches(state).all(|batch| batch.runs <= 2)
        }),
        // No step can be repeated or undone, so a call that can always take one ends.
        always(ENDS, |model, state| {
            let mut actions = Vec::new();
            model.actions(state, &mut actions);
            state.is_done() || actions.into_iter().any(|action| !Action::is_fault(action))
        }),
        sometimes("one statement makes two changes", |model, state| {
            let mut versions = state.server.history.iter();
            !model.has(Kind::Line) || versions.any(|version| version.adds.len() == 2)
        }),
        sometimes("a closure runs a second time", |model, state| {
            let conditional = model.has(Kind::Line) || model.has(Kind::UpdateRow);
            !conditional || batches(state).any(|batch| batch.runs == 2)
        }),
        sometimes("a change in doubt is in the row", |model, state| {
            model.cuts == 0 || replied(state, Reply::InDoubt).any(|change| contains(state, change))
        }),
        sometimes("a change in doubt is not in the row", |model, state| {
            let is_in = |change| contains(state, change);
            let all_in = replied(state, Reply::InDoubt).all(is_in);
            model.cuts == 0 || (state.is_done() && !all_in)
        }),
        sometimes("a batch in doubt runs again", |model, state| {
            !model.rules.resolve || batches(state).any(Batch::commits_after_a_doubt)
        }),
        sometimes("a server loses what it has acknowledged", |model, state| {
            !model.asynchronous || !state.forgiven.is_empty()
        }),
        sometimes("a transaction id is assigned again", |model, state| {
            let mut ids = state.server.history.iter().map(|version| version.row.xmin);
            !model.asynchronous || ids.any(|xmin| state.server.lost == Some(xmin))
        }),
    ]
}

fn always(name: &'static str, holds: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::always(name, holds)
}

fn sometimes(name: &'static str, seen: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::sometimes(name, seen)
}

fn batches(state: &State) -> impl Iterator<Item = &Batch> {
    state.clients.iter().flat_map(|client| &client.batch)
}

fn replied(state: &State, wanted: Reply) -> impl Iterator<Item = Change> + '_ {
    let replies = state.clients.iter().flat_map(|client| &client.replies);
    replies
        .filter(move |(_, reply)| *reply == wanted)
        .map(|(change, _)| *change)
}

fn contains(state: &State, change: Change) -> bool {
    state.server.row().value.contains(&change)
}

/// Returns whether each transaction appends its own changes to the row of its predecessor (no lost
/// update), no change is there twice, and no withdrawal was made that its closure refuses.
fn is_serial(state: &State) -> bool {
    let history = &state.server.history;
    let follows = history.windows(2).all(|pair| {
        let [before, after] = pair else { return false };
        let expected = [before.row.value.as_slice(), &after.adds].concat();
        after.row.value == expected
    });
    let value = &state.server.row().value;
    let mut balance = 0;
    let never_negative = value.iter().all(|change| {
        balance += change.signum();
        balance >= 0
    });
    let once = (1..value.len()).all(|i| !value[..i].contains(&value[i]));
    follows && never_negative && once
}
