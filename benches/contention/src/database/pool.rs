//! The pool, the same for all strategies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use diesel::r2d2::event::{CheckinEvent, CheckoutEvent};
use diesel::r2d2::{
    ConnectionManager, CustomizeConnection, Error, HandleEvent, Pool, R2D2Connection,
};

/// How many connections are out, and were at most.
#[derive(Debug, Default, Clone)]
pub(super) struct Usage(Arc<(AtomicUsize, AtomicUsize)>);

impl Usage {
    pub(super) fn most(&self) -> usize {
        let (now, most) = &*self.0;
        most.swap(now.load(Ordering::SeqCst), Ordering::SeqCst)
    }
}

impl HandleEvent for Usage {
    fn handle_checkout(&self, _: CheckoutEvent) {
        let (now, most) = &*self.0;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    fn handle_checkin(&self, _: CheckinEvent) {
        self.0 .0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Opens all its connections at once, and never tests or renews one: that is a round trip of its
/// own, which belongs to no strategy.
pub(super) fn pool<C: R2D2Connection + 'static>(
    url: &str,
    size: u32,
    setup: Box<dyn CustomizeConnection<C, Error>>,
) -> Result<(Pool<ConnectionManager<C>>, Usage)> {
    let usage = Usage::default();
    let pool = Pool::builder()
        .max_size(size)
        .test_on_check_out(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connection_timeout(Duration::from_secs(60))
        .connection_customizer(setup)
        .event_handler(Box::new(usage.clone()))
        .build(ConnectionManager::new(url))
        .context("no connections")?;
    Ok((pool, usage))
}
