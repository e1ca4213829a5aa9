//! The server, whichever it is: the only place that uses the library.

use std::error::Error;

use diesel::Connection;
use diesel_row_lock::bounds::WaitsBackend;
use diesel_row_lock::waits::{cancel, lock_waits, terminate, LockWait, SessionId};
use diesel_row_lock::{LockConnection, LockError};

/// A server, with a connection that is made anew when it is lost.
pub(crate) struct Server {
    url: String,
    connect: Connect,
    sessions: Option<Box<dyn Sessions>>,
}

type Connect = fn(&str) -> Result<Box<dyn Sessions>, Box<dyn Error>>;

/// What all connections can do here, whatever their type is.
trait Sessions {
    fn waits(&mut self) -> Result<Vec<LockWait>, LockError>;
    fn cancel(&mut self, session: SessionId) -> Result<bool, LockError>;
    fn terminate(&mut self, session: SessionId) -> Result<bool, LockError>;
}

impl<C: LockConnection<Backend: WaitsBackend>> Sessions for C {
    fn waits(&mut self) -> Result<Vec<LockWait>, LockError> {
        lock_waits(self)
    }

    fn cancel(&mut self, session: SessionId) -> Result<bool, LockError> {
        cancel(self, session)
    }

    fn terminate(&mut self, session: SessionId) -> Result<bool, LockError> {
        terminate(self, session)
    }
}

fn by_scheme(url: &str) -> Option<Connect> {
    match url.split_once("://")?.0 {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Some(establish::<diesel::PgConnection>),
        #[cfg(feature = "mysql")]
        "mysql" => Some(establish::<diesel::MysqlConnection>),
        _ => None,
    }
}

#[cfg_attr(
    not(any(feature = "postgres", feature = "mysql")),
    allow(dead_code, reason = "no server is compiled in")
)]
fn establish<C>(url: &str) -> Result<Box<dyn Sessions>, Box<dyn Error>>
where
    C: Connection + LockConnection<Backend: WaitsBackend> + 'static,
{
    Ok(Box::new(C::establish(url)?))
}

impl Server {
    pub(crate) fn connect(url: &str) -> Result<Self, Box<dyn Error>> {
        let connect = by_scheme(url).ok_or(NO_SUCH_SERVER)?;
        Ok(Self {
            url: url.to_owned(),
            connect,
            sessions: Some(connect(url)?),
        })
    }

    pub(crate) fn waits(&mut self) -> Result<Vec<LockWait>, Box<dyn Error>> {
        self.ask(|sessions| sessions.waits())
    }

    pub(crate) fn cancel(&mut self, session: SessionId) -> Result<bool, Box<dyn Error>> {
        self.ask(|sessions| sessions.cancel(session))
    }

    pub(crate) fn terminate(&mut self, session: SessionId) -> Result<bool, Box<dyn Error>> {
        self.ask(|sessions| sessions.terminate(session))
    }

    fn ask<R>(
        &mut self,
        question: impl FnOnce(&mut dyn Sessions) -> Result<R, LockError>,
    ) -> Result<R, Box<dyn Error>> {
        let sessions = match &mut self.sessions {
            Some(sessions) => sessions,
            lost => lost.insert((self.connect)(&self.url)?),
        };
        let answer = question(sessions.as_mut());
        if matches!(answer, Err(LockError::ConnectionLost { .. })) {
            self.sessions = None;
        }
        answer.map_err(|error| match error.source() {
            Some(source) => format!("{error}: {source}").into(),
            None => error.into(),
        })
    }
}

const NO_SUCH_SERVER: &str =
    "the URL must begin with postgres:// or mysql://, and the example be built \
     for that: cargo run -p lock_top --features postgres,mysql -- URL";
