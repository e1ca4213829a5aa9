//! A subscriber that keeps the spans and events of one thread, for the one who asks for them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// A span or an event.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) name: &'static str,
    pub(super) target: String,
    pub(super) level: Level,
    /// The place of the span around it in the list of all.
    pub(super) inside: Option<usize>,
    pub(super) closed: bool,
    pub(super) is_span: bool,
    fields: HashMap<&'static str, String>,
}

impl Seen {
    /// Empty if it was not told.
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        let text = self.field(name);
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}: {self:?}"))
    }

    /// Outcome and kind of error.
    pub(super) fn ending(&self) -> (&str, &str) {
        (self.field("row_lock.outcome"), self.field("error.type"))
    }

    /// File and line of the call.
    pub(super) fn site(&self) -> (&str, u64) {
        (
            self.field("code.file.path"),
            self.number("code.line.number"),
        )
    }
}

thread_local! {
    static SEEN: RefCell<Option<Vec<Seen>>> = const { RefCell::new(None) };
}

/// What `act` returns, and all spans and events of this thread meanwhile, in their order.
///
/// One subscriber for the whole process, since one that is set for a thread only can miss what is
/// first reached while another thread's is going.
pub(super) fn seen_in<R>(act: impl FnOnce() -> R) -> (R, Vec<Seen>) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tracing::subscriber::set_global_default(Registry::default().with(Keeper)).unwrap();
    });
    SEEN.set(Some(Vec::new()));
    let result = act();
    (result, SEEN.take().unwrap())
}

/// The spans of locked calls.
pub(super) fn calls_in<R>(act: impl FnOnce() -> R) -> (R, Vec<Seen>) {
    let (result, mut seen) = seen_in(act);
    seen.retain(|seen| seen.is_span && seen.target == "diesel_row_lock");
    (result, seen)
}

/// The one span of a locked call.
pub(super) fn call_in<R>(act: impl FnOnce() -> R) -> (R, Seen) {
    let (result, mut calls) = calls_in(act);
    assert_eq!(calls.len(), 1, "{calls:#?}");
    (result, calls.remove(0))
}

struct Keeper;

/// The place of a span in the list.
struct Place(usize);

impl<S> Layer<S> for Keeper
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        keep(|all| {
            let span = context.span(id).unwrap();
            let around = span.parent();
            let inside = around.and_then(|span| span.extensions().get::<Place>().map(|at| at.0));
            let mut seen = Seen::new(attributes.metadata(), inside, true);
            attributes.record(&mut seen);
            span.extensions_mut().insert(Place(all.len()));
            all.push(seen);
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        at(id, &context, |seen| values.record(seen));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        keep(|all| {
            let around = context.event_span(event);
            let inside = around.and_then(|span| span.extensions().get::<Place>().map(|at| at.0));
            let mut seen = Seen::new(event.metadata(), inside, false);
            event.record(&mut seen);
            all.push(seen);
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        at(&id, &context, |seen| seen.closed = true);
    }
}

fn keep(act: impl FnOnce(&mut Vec<Seen>)) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(all) = seen {
            act(all);
        }
    });
}

fn at<S>(id: &Id, context: &Context<'_, S>, act: impl FnOnce(&mut Seen))
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    keep(|all| {
        let place = context
            .span(id)
            .and_then(|span| span.extensions().get::<Place>().map(|place| place.0));
        if let Some(place) = place {
            act(&mut all[place]);
        }
    });
}

impl Seen {
    fn new(metadata: &tracing::Metadata<'static>, inside: Option<usize>, is_span: bool) -> Self {
        Self {
            name: metadata.name(),
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            inside,
            closed: false,
            is_span,
            fields: HashMap::new(),
        }
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}
