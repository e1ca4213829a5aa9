//! Connections that a player opens itself, whose statements the prover can't see.

use std::sync::Once;

use diesel::connection::{
    get_default_instrumentation, set_default_instrumentation, Instrumentation, InstrumentationEvent,
};

use crate::played;

/// Has connections report themselves that a player opens.
///
/// Diesel gives each new connection the program's default `Instrumentation`, of which there is only
/// one. One that the program has set stays.
pub(super) fn watch_new_connections() {
    // The setting is the program's, and there is no way to take it back.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if get_default_instrumentation().is_none() {
            // Fails only if the lock of the setting is poisoned; the prover then sees less.
            let _ = set_default_instrumentation(|| {
                played::is_player().then(|| Box::new(OfOther) as Box<dyn Instrumentation>)
            });
        }
    });
}

/// The `Instrumentation` of a connection that was opened by a player.
struct OfOther;

impl Instrumentation for OfOther {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { .. } => {
                played::unseen("opens a connection of its own");
            }
            // It may have been kept since an earlier run.
            InstrumentationEvent::StartQuery { .. } => {
                played::unseen("sends statements on another connection");
            }
            _ => {}
        }
    }
}
