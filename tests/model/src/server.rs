//! A server with one row: row locks, transaction ids, crash and failover, as in PostgreSQL.

/// A change of the row: a positive number deposits 1, a negative number withdraws 1. The closure of
/// a withdrawal returns an `Err` if the balance is 0. The magnitude identifies the change.
pub type Change = i8;

/// The id of a transaction. A row's `xmin`, its stamp, is the id of the transaction that wrote it.
pub type Xid = u8;

/// The value of a row: all its changes, in order.
///
/// A real row has only their sum. The list shows a lost change even if another was made twice.
pub type Value = Vec<Change>;

/// Returns whether the closure of `change` returns an `Err` for a row with this value.
pub fn refuses(change: Change, value: &[Change]) -> bool {
    let balance: i8 = value.iter().map(|change| change.signum()).sum();
    balance + change.signum() < 0
}

/// The row, as a statement returns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub value: Value,
    pub xmin: Xid,
}

/// The new value in an `UPDATE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub value: Value,
    /// The changes that the client adds to its row. Only the promises use this.
    pub adds: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// `SELECT`, without a lock
    Read,
    /// `BEGIN`, a write of another row, and then `SELECT … FOR UPDATE`. These are two steps of the
    /// server: the first assigns the transaction id, so ids and commits can have different orders.
    Lock,
    /// `UPDATE … RETURNING`, in the open transaction
    Update(Write),
    Commit,
    Rollback,
    /// `UPDATE … WHERE xmin = … RETURNING`, in autocommit
    UpdateIf(Xid, Write),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Row(Row),
    /// One row was changed; this is its new stamp.
    Updated(Xid),
    /// The `UPDATE` changed no row.
    Missed,
    Done,
    /// The connection is lost. The statement may have been executed or not.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    xid: Xid,
    holds_the_row: bool,
    write: Option<Write>,
}

/// One connection and its server session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Session {
    pub request: Option<Statement>,
    pub answer: Option<Answer>,
    pub open: Option<Transaction>,
    /// The client has lost the server: its statements get no answer.
    pub dead: bool,
    /// The server has lost the client, and has not noticed.
    left: bool,
}

/// A version of the row, written by one committed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub row: Row,
    pub adds: Vec<Change>,
}

/// The server. A standby that lags has a prefix of the history; a server that does not wait for its
/// disk has one after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub history: Vec<Version>,
    next_xid: Xid,
    /// One for each client, and then the sessions that have lost their client.
    pub sessions: Vec<Session>,
    /// The last id among the versions that a restart has lost.
    pub lost: Option<Xid>,
}

impl Server {
    pub fn new(clients: usize) -> Self {
        let row = Row {
            value: Vec::new(),
            xmin: 0,
        };
        Self {
            history: vec![Version {
                row,
                adds: Vec::new(),
            }],
            next_xid: 1,
            sessions: vec![Session::default(); clients],
            lost: None,
        }
    }

    /// The committed row.
    pub fn row(&self) -> &Row {
        &self.history[self.history.len() - 1].row
    }

    /// Sends a statement.
    pub fn send(&mut self, session: usize, statement: Option<Statement>) {
        let session = &mut self.sessions[session];
        if session.dead {
            session.answer = statement.map(|_| Answer::Lost);
        } else {
            session.request = statement;
        }
    }

    /// Returns whether a session has a statement that waits for no row lock.
    pub fn can_run(&self, session: usize) -> bool {
        match &self.sessions[session].request {
            None => false,
            // The first of its two steps takes no lock.
            Some(Statement::Lock) if self.sessions[session].open.is_none() => true,
            Some(Statement::Lock | Statement::UpdateIf(..)) => !self.sessions.iter().any(|other| {
                let open = other.open.as_ref();
                open.is_some_and(|transaction| transaction.holds_the_row)
            }),
            Some(_) => true,
        }
    }

    /// Executes the statement of a session.
    pub fn run(&mut self, session: usize) {
        let Some(statement) = self.sessions[session].request.take() else {
            return;
        };
        let mut open = self.sessions[session].open.take();
        let answer = match (statement, &mut open) {
            (Statement::Read, _) => Answer::Row(self.row().clone()),
            (Statement::Lock, open @ None) => {
                *open = Some(Transaction {
                    xid: self.take_xid(),
                    holds_the_row: false,
                    write: None,
                });
                self.sessions[session].open = open.take();
                self.sessions[session].request = Some(Statement::Lock);
                return;
            }
            (Statement::Lock, Some(transaction)) => {
                transaction.holds_the_row = true;
                Answer::Row(self.row().clone())
            }
            (Statement::Update(write), Some(transaction)) => {
                transaction.write = Some(write);
                Answer::Updated(transaction.xid)
            }
            (Statement::Commit, open) => {
                if let Some(transaction) = open.take() {
                    if let Some(write) = transaction.write {
                        self.commit(transaction.xid, write);
                    }
                }
                Answer::Done
            }
            (Statement::Rollback, open) => {
                *open = None;
                Answer::Done
            }
            (Statement::UpdateIf(stamp, _), _) if self.row().xmin != stamp => Answer::Missed,
            (Statement::UpdateIf(_, write), _) => {
                let xid = self.take_xid();
                self.commit(xid, write);
                Answer::Updated(xid)
            }
            (Statement::Update(_), None) => unreachable!("no transaction"),
        };
        let session = &mut self.sessions[session];
        session.open = open;
        session.answer = (!session.left).then_some(answer);
        self.forget();
    }

    /// Removes the sessions that have lost their client and have nothing left to do.
    fn forget(&mut self) {
        self.sessions
            .retain(|it| !it.left || it.request.is_some() || it.open.is_some());
    }

    fn commit(&mut self, xmin: Xid, write: Write) {
        let Write { value, adds } = write;
        let row = Row { value, xmin };
        self.history.push(Version { row, adds });
    }

    fn take_xid(&mut self) -> Xid {
        let xid = self.next_xid;
        self.next_xid += 1;
        xid
    }

    /// Cuts the connection of a client. Until the server notices, it may execute the statement, and
    /// an open transaction keeps its locks. Statements that can't commit have no further effect.
    pub fn cut(&mut self, client: usize) {
        let lost = Session {
            answer: Some(Answer::Lost),
            dead: true,
            ..Session::default()
        };
        let mut left = std::mem::replace(&mut self.sessions[client], lost);
        left.answer = None;
        left.left = true;
        left.request
            .take_if(|statement| !matches!(statement, Statement::Commit | Statement::UpdateIf(..)));
        self.sessions.push(left);
        self.forget();
    }

    /// Ends a session that has lost its client, and rolls back its transaction.
    pub fn notice(&mut self, session: usize) {
        self.sessions.remove(session);
    }

    /// Crashes the server, and continues with the first `keep` versions: after its recovery, or on
    /// its standby. All sessions end. New ids follow the last id of a remaining version, so the ids
    /// of lost versions and of open transactions are assigned again.
    ///
    /// Returns the lost versions.
    pub fn restart(&mut self, clients: usize, keep: usize) -> Vec<Version> {
        self.sessions.truncate(clients);
        for session in &mut self.sessions {
            let waits = session.request.is_some() || session.answer.is_some();
            *session = Session {
                answer: waits.then_some(Answer::Lost),
                dead: true,
                ..Session::default()
            };
        }
        let lost = self.history.split_off(keep);
        let ids = self.history.iter().map(|version| version.row.xmin);
        self.next_xid = ids.max().unwrap_or_default() + 1;
        self.lost = lost.iter().map(|version| version.row.xmin).max();
        lost
    }
}
