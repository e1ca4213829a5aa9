//! [`Viewpoint`]: the list of waits as the connections of one process share it.

use std::sync::Arc;
use std::time::Instant;

use super::backend::WaitsBackend;
use super::looks::{Looks, LooksByName};
use super::{meaning, LockWait};
use crate::connection::LockConnection;
use crate::error::LockError;

/// Connections that get the same answers: they have one server, one user and one database.
#[derive(Debug)]
pub(crate) struct Viewpoint(Arc<Looks<[LockWait]>>);

static VIEWPOINTS: LooksByName<[LockWait]> = LooksByName::new();

impl Viewpoint {
    /// That of this connection.
    pub(crate) fn of<C>(conn: &mut C) -> Result<Self, LockError>
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        let name = C::Backend::viewpoint(conn).map_err(meaning::<C>)?;
        Ok(Self(VIEWPOINTS.of(name)))
    }

    /// The waits at a moment that is not before `since`, from `conn` or from another caller;
    /// `None` if the caller needs them `no_more`.
    pub(crate) fn look<C>(
        &self,
        conn: &mut C,
        since: Instant,
        no_more: impl Fn() -> bool,
    ) -> Result<Option<Arc<[LockWait]>>, LockError>
    where
        C: LockConnection<Backend: WaitsBackend>,
    {
        self.0.look(since, no_more, || {
            let seen = C::Backend::waits(conn).map_err(meaning::<C>)?;
            let mut waits: Vec<_> = seen.waits.into_iter().map(LockWait::of).collect();
            waits.sort_by_key(|wait| std::cmp::Reverse(wait.waited));
            Ok((seen.at, waits.into()))
        })
    }
}
