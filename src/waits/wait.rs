//! [`LockWait`]: one waits for another, and who is to blame in the end.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use super::backend::WaitRow;
use crate::session::{in_one_line, Session, SessionId};

/// One session waits for another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockWait {
    /// Who waits.
    pub waiter: Session,
    /// For whom. It may wait itself: see [`root`](Self::root).
    pub blocker: Session,
    /// The table of the lock, where the server says: on PostgreSQL only of this connection's
    /// database, and as short as its `search_path` allows; on MySQL and MariaDB with its database.
    pub table: Option<String>,
    /// For how long: to the millisecond on PostgreSQL, in whole seconds on MariaDB. On MySQL since
    /// the statement began.
    pub waited: Duration,
}

impl LockWait {
    pub(crate) fn of(row: WaitRow) -> Self {
        let (waiter, its_application, its_query, blocker, application, query, idle, table, micros) =
            row;
        Self {
            waiter: Session {
                id: SessionId::new(waiter),
                application: its_application,
                query: its_query,
                idle: false,
            },
            blocker: Session {
                id: SessionId::new(blocker),
                application,
                query,
                idle,
            },
            table,
            waited: Duration::from_micros(u64::try_from(micros).unwrap_or(0)),
        }
    }

    /// The one at the end of the line that this waiter stands in: who waits for nobody. Where some
    /// of the waits go round in a circle, which the server will end as a deadlock, its
    /// [`blocker`](Self::blocker).
    ///
    /// `waits` is the whole list. Sends no SQL.
    pub fn root<'w>(&'w self, waits: &'w [Self]) -> &'w Session {
        let mut seen = HashSet::from([self.waiter.id]);
        let mut next = vec![&self.blocker];
        while let Some(blocker) = next.pop() {
            if !seen.insert(blocker.id) {
                continue;
            }
            let before = next.len();
            next.extend(blockers_of(waits, blocker.id));
            if next.len() == before {
                return blocker;
            }
        }
        &self.blocker
    }
}

fn blockers_of(waits: &[LockWait], waiter: SessionId) -> impl Iterator<Item = &Session> {
    let waits = waits.iter().filter(move |wait| wait.waiter.id == waiter);
    waits.map(|wait| &wait.blocker)
}

/// Those in the list who are waited for and wait for nobody themselves: to end one of them lets
/// others go on. None where all wait in a circle, which the server will end as a deadlock.
///
/// Sends no SQL.
pub fn root_blockers(waits: &[LockWait]) -> Vec<&Session> {
    let mut seen: HashSet<_> = waits.iter().map(|wait| wait.waiter.id).collect();
    let blockers = waits.iter().map(|wait| &wait.blocker);
    blockers.filter(|blocker| seen.insert(blocker.id)).collect()
}

/// `session 12 (bank) has waited 1.5s for session 7 (psql) on accounts; it wants: SELECT …`
impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            waiter,
            blocker,
            waited,
            ..
        } = self;
        let waited = Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        write!(f, "{waiter} has waited {waited:?} for {blocker}")?;
        if let Some(table) = &self.table {
            write!(f, " on {table}")?;
        }
        f.write_str(&blocker.doing())?;
        match &waiter.query {
            Some(query) => write!(f, "; it wants: {}", in_one_line(query)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(waiter: i64, blocker: i64) -> LockWait {
        LockWait::of((waiter, None, None, blocker, None, None, true, None, 0))
    }

    fn root_ids(waits: &[LockWait]) -> Vec<i64> {
        let roots = root_blockers(waits);
        roots.iter().map(|root| root.id.get()).collect()
    }

    #[test]
    fn root_is_at_the_end_of_the_chain() {
        let waits = [wait(3, 2), wait(2, 1), wait(5, 4)];
        let roots: Vec<_> = waits
            .iter()
            .map(|wait| wait.root(&waits).id.get())
            .collect();
        assert_eq!(roots, [1, 1, 4]);
        assert_eq!(root_ids(&waits), [1, 4]);
    }

    #[test]
    fn root_is_found_past_those_who_wait_too() {
        let waits = [wait(3, 2), wait(3, 1), wait(2, 1)];
        assert_eq!(waits[0].root(&waits).id.get(), 1);
        assert_eq!(root_ids(&waits), [1]);
    }

    #[test]
    fn circle_has_no_root() {
        let waits = [wait(1, 2), wait(2, 1), wait(3, 1)];
        assert_eq!(waits[2].root(&waits).id.get(), 1);
        assert_eq!(root_ids(&waits), [0; 0]);
    }

    #[test]
    fn wait_is_told_in_one_line() {
        let bank = || Some("bank".to_owned());
        let mut wait = LockWait::of((
            12,
            bank(),
            Some("SELECT 1\n  FOR UPDATE".to_owned()),
            7,
            None,
            Some("UPDATE accounts".to_owned()),
            true,
            Some("accounts".to_owned()),
            1_500_000,
        ));
        assert_eq!(
            wait.to_string(),
            "session 12 (bank) has waited 1.5s for session 7 on accounts, \
             which last ran: UPDATE accounts; it wants: SELECT 1 FOR UPDATE"
        );
        wait.blocker.id = SessionId::new(0);
        assert!(wait.to_string().contains("for a prepared transaction on"));
    }
}
