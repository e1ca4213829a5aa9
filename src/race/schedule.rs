//! [`Schedule`]: named steps of named sessions, played in an order that the caller gives.

use std::fmt::{self, Debug, Display};
use std::time::Duration;

use diesel::result::ConnectionResult;

use super::limits::{Deadline, Limits};
use super::player::{ended, Ended, Part, Steps, Stops};
use super::stage::{play, Director};
use super::{RaceError, Script, Watch};
use crate::connection::LockConnection;

type Session<'a, C> = Box<dyn Fn(&mut C, &Steps) -> Ended + Send + Sync + 'a>;

/// Sessions whose steps are played one at a time, in the way of PostgreSQL's isolation tester
/// (<https://github.com/postgres/postgres/tree/master/src/test/isolation>).
///
/// A session is a closure that names its steps: [`Steps::next`] waits for the turn of a step. A
/// step is over when the session comes to its next one or to its end, or when the server says that
/// it waits for another session; it then goes on by itself when that one lets it.
///
/// # Example
///
/// ```
/// # include!("../doctest_setup.rs");
/// use diesel_row_lock::race::Schedule;
/// use diesel_row_lock::{with_row_lock, LockError, Locked};
///
/// # fn main() {
/// # let folder = tempfile::tempdir().expect("a folder");
/// # let _tables = establish_two_connections(folder.path());
/// # let file = folder.path().join("bank.db").display().to_string();
/// # let connect = || {
/// #     use diesel::connection::SimpleConnection;
/// #     let mut conn = SqliteConnection::establish(&file)?;
/// #     conn.batch_execute("PRAGMA busy_timeout = 5000").expect("a timeout");
/// #     Ok(conn)
/// # };
/// let played = Schedule::new()
///     .session("Ada", |conn, steps| {
///         steps.next("lock");
///         with_row_lock(conn, accounts::table.find(1), |_, _: Locked<Account>| {
///             steps.next("commit");
///             Ok::<_, LockError>(())
///         })
///     })
///     .session("Grace", |conn, steps| {
///         steps.next("lock");
///         let ada = accounts::table.find(1);
///         with_row_lock(conn, ada, |_, _: Locked<Account>| Ok::<_, LockError>(()))
///     })
///     .play(connect, &["Ada lock", "Grace lock", "Ada commit"])
///     .expect("a server");
/// assert!(played.waited("Grace lock"));
/// assert!(!played.waited("Ada lock"));
/// # }
/// ```
#[must_use = "nothing is played until `play`"]
pub struct Schedule<'a, C> {
    sessions: Vec<(&'a str, Session<'a, C>)>,
    setup: Box<dyn Fn(&mut C) -> Ended + 'a>,
    limits: Limits,
}

impl<C> Debug for Schedule<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions: Vec<_> = self.sessions.iter().map(|(name, _)| name).collect();
        f.debug_struct("Schedule")
            .field("sessions", &sessions)
            .finish_non_exhaustive()
    }
}

impl<C> Default for Schedule<'_, C>
where
    C: LockConnection<Backend: Watch> + Send,
{
    fn default() -> Self {
        Self::new()
    }
}

/// A schedule that was played. Its `Display` is the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    names: Vec<String>,
    script: Script,
    ended: Vec<Ended>,
}

impl<'a, C> Schedule<'a, C>
where
    C: LockConnection<Backend: Watch> + Send,
{
    /// Without sessions.
    pub fn new() -> Self {
        Self {
            sessions: Vec::new(),
            setup: Box::new(|_| Ok(String::new())),
            limits: Limits::default(),
        }
    }

    /// Makes the initial state, before each [`play`](Self::play).
    pub fn setup<T, E>(self, setup: impl Fn(&mut C) -> Result<T, E> + 'a) -> Self
    where
        E: Display,
    {
        Self {
            setup: Box::new(move |conn| ended(setup(conn).map(drop))),
            ..self
        }
    }

    /// A session, with a connection of its own. Its name is one word.
    pub fn session<T, E, F>(mut self, name: &'a str, session: F) -> Self
    where
        T: Debug,
        E: Display,
        F: Fn(&mut C, &Steps) -> Result<T, E> + Send + Sync + 'a,
    {
        let session = move |conn: &mut C, steps: &Steps| ended(session(conn, steps));
        self.sessions.push((name, Box::new(session)));
        self
    }

    /// How long a session may neither go on nor be seen to wait for another one. 20 s unless set.
    pub fn deadline(mut self, patience: Duration) -> Self {
        self.limits.patience = patience;
        self
    }

    /// How long [`play`](Self::play) may take. 5 minutes unless set.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// How many statements a session may send. 1000 unless set.
    pub fn statement_limit(mut self, statements: usize) -> Self {
        self.limits.statements = statements;
        self
    }

    /// Plays the steps in this order, each named as `"session step"`, and then the sessions to
    /// their ends. May be called again, with another order.
    ///
    /// `connect` makes the connections: one for each session, and one to ask the server who waits.
    ///
    /// # Errors
    ///
    /// [`RaceError::OutOfTurn`] if a session does not stand before the step whose turn it is: it
    /// has none of that name there, or it still waits for another session. Otherwise as
    /// [`Race::prove`](super::Race::prove). A session that returns an error is no error.
    pub fn play(
        &self,
        connect: impl Fn() -> ConnectionResult<C>,
        order: &[&str],
    ) -> Result<Played, RaceError> {
        let mut watcher = connect().map_err(RaceError::Connect)?;
        (self.setup)(&mut watcher).map_err(RaceError::Setup)?;
        let parts = self.sessions.iter().map(|(name, session)| Part {
            name,
            stops: Stops::AtSteps,
            play: Box::new(move |conn: &mut C, steps: &Steps| session(conn, steps)),
        });
        let (script, ended) = play(
            &connect,
            &mut watcher,
            self.limits,
            Deadline::after(self.limits.time),
            parts.collect(),
            |director| {
                // To their first steps.
                for who in 0..self.sessions.len() {
                    director.go(who)?;
                }
                order.iter().try_for_each(|step| self.take(director, step))
            },
        )?;
        Ok(Played {
            names: self
                .sessions
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            script,
            ended,
        })
    }

    fn take(&self, director: &mut Director<'_, C>, asked: &str) -> Result<(), RaceError> {
        let (session, step) = asked.split_once(' ').unwrap_or((asked, ""));
        let who = self.sessions.iter().position(|(name, _)| *name == session);
        let instead = match who {
            None => "there is no such session".to_owned(),
            Some(who) => match director.stands(who) {
                Some(before) if before == step => return director.go(who),
                Some(before) => format!("{session} stands before {before:?}"),
                None if director.is_done(who) => format!("{session} has ended"),
                None => format!("{session} waits for another session"),
            },
        };
        Err(RaceError::OutOfTurn {
            asked: asked.to_owned(),
            instead,
            script: director.script().clone(),
        })
    }
}

impl Played {
    /// What the session returned: the `Debug` of the value or the `Display` of the error. An error
    /// too if there is no such session.
    pub fn ended(&self, session: &str) -> Result<&str, &str> {
        let mut sessions = self.names.iter().zip(&self.ended);
        match sessions.find(|(name, _)| *name == session) {
            Some((_, ended)) => ended.as_deref().map_err(String::as_str),
            None => Err("there is no such session"),
        }
    }

    /// Whether this step, named as `"session step"`, had to wait for another session.
    pub fn waited(&self, step: &str) -> bool {
        let (session, step) = step.split_once(' ').unwrap_or((step, ""));
        let who = self.names.iter().position(|name| name == session);
        who.is_some_and(|who| self.script.waited(who, step))
    }

    /// Every statement, in order.
    pub fn script(&self) -> &Script {
        &self.script
    }
}

impl Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.script, f)
    }
}
