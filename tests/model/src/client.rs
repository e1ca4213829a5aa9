//! The client: the statements that the library sends, and the results that its callers get.

use crate::server::{refuses, Answer, Change, Row, Statement, Write, Xid};

/// The call that a client makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `with_row_lock`, or the same by hand: lock, change, commit
    Lock,
    /// `update_row`: read, then one conditional `UPDATE`; if that changes no row, the lock path
    UpdateRow,
    /// `RowQueue::update`: the same for one or two callers at once, on the row that the last
    /// conditional `UPDATE` of this session returned, if there is one
    Line,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Ok,
    /// The error of the closure. It is `firm` if the committed row was the row that the closure
    /// saw, at some time between the closure's run and this reply.
    Refused {
        firm: bool,
    },
    NotApplied,
    InDoubt,
}

/// How the clients behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Clients resolve a doubt by the stamp of the row, as `Client::lose` describes.
    pub resolve: bool,
    pub mistake: Option<Mistake>,
}

/// The surroundings of one step of a client.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub rules: Rules,
    /// The committed row. No client sees it; the promises compare it with a closure's row.
    pub committed: &'a [Change],
}

/// A planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// A new session uses the row that an old one has kept.
    KeepsTheStampOverAReconnect,
    /// A new session locks the row, and uses the kept row if both have the same stamp.
    ComparesTheStampAfterAReconnect,
    /// The client returns the error of a closure that ran on an unlocked row.
    ReturnsAnErrFromAStaleRow,
    /// The client assumes that a statement without an answer was not executed.
    TriesALostAnswerAgain,
    /// The callers of a batch get their results when its statement is sent.
    AnswersABatchBeforeItsStatement,
    /// The client assumes that a conditional `UPDATE` without an error has changed the row.
    TakesNoRowForSuccess,
    /// If the row has its old stamp, the client returns `NotApplied` and does not write the row.
    ResolvesWithoutAWrite,
    /// If the row has the stamp that the lost transaction wrote, the client returns `Ok`.
    ResolvesByTheStampItWrote,
    /// The client returns `NotApplied` if the connection that resolves a doubt is lost, too.
    ForgetsTheFirstDoubt,
}

/// The statement whose answer a batch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Reading,
    Updating,
    Locking,
    Writing,
    Committing,
    /// All callers then get this reply; `None` stands for the results of the closures.
    RollingBack(Option<Reply>),
}

/// A statement whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Doubt {
    /// The stamp of the row that it would have replaced.
    replaces: Xid,
    /// Its own stamp, if the server returned it before `COMMIT`.
    wrote: Option<Xid>,
}

/// Changes that one statement or transaction makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    changes: Vec<Change>,
    stage: Stage,
    /// How often the closures have run.
    pub runs: u8,
    /// The row of their last run, and its result.
    base: Option<Row>,
    result: Vec<Change>,
    added: Vec<Change>,
    /// The committed row was `base` at some time since the closures ran. Only the promises use
    /// this.
    pub firm: bool,
    wrote: Option<Xid>,
    doubt: Option<Doubt>,
}

impl Batch {
    fn of(changes: Vec<Change>) -> Self {
        Self {
            changes,
            stage: Stage::Reading,
            runs: 0,
            base: None,
            result: Vec::new(),
            added: Vec::new(),
            firm: false,
            wrote: None,
            doubt: None,
        }
    }

    /// Runs the closures, one after the other on the same row. An `Err` undoes its own change.
    fn run_on(&mut self, row: Row, world: World<'_>) {
        self.runs += 1;
        self.firm = row.value == world.committed;
        self.result.clone_from(&row.value);
        self.added.clear();
        for &change in &self.changes {
            if !refuses(change, &self.result) {
                self.result.push(change);
                self.added.push(change);
            }
        }
        self.base = Some(row);
    }

    fn write(&self) -> Write {
        Write {
            value: self.result.clone(),
            adds: self.added.clone(),
        }
    }

    /// Compares the row that the closures ran on with the committed row.
    pub fn look(&mut self, committed: &[Change]) {
        self.firm |= self
            .base
            .as_ref()
            .is_some_and(|base| base.value == committed);
    }

    /// Returns whether this is the second transaction for changes whose first is in doubt.
    pub fn commits_after_a_doubt(&self) -> bool {
        self.doubt.is_some() && self.stage == Stage::Committing
    }
}

/// A process with one connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    kind: Kind,
    /// The changes that have not begun.
    pub waiting: Vec<Change>,
    pub batch: Option<Batch>,
    /// The row that the last conditional `UPDATE` of this session returned.
    kept: Option<Row>,
    /// The kept row of an old session. Only a planted mistake uses it.
    remembered: Option<Row>,
    pub replies: Vec<(Change, Reply)>,
}

impl Client {
    pub fn new(kind: Kind, changes: &[Change]) -> Self {
        Self {
            kind,
            waiting: changes.to_vec(),
            batch: None,
            kept: None,
            remembered: None,
            replies: Vec::new(),
        }
    }

    /// The possible sizes of the next batch.
    pub fn batch_sizes(&self) -> std::ops::RangeInclusive<usize> {
        let most = if self.kind == Kind::Line { 2 } else { 1 };
        1..=most.min(self.waiting.len())
    }

    /// Begins a batch with its first statement.
    pub fn start(&mut self, size: usize, world: World<'_>) -> Option<Statement> {
        let batch = Batch::of(self.waiting.drain(..size).collect());
        match (self.kind, self.kept.take()) {
            (Kind::Line, Some(row)) => self.update_if(batch, row, world),
            (Kind::Lock, _) => self.lock(batch),
            _ => self.send(batch, Stage::Reading, Statement::Read),
        }
    }

    /// Processes an answer, and returns the next statement of the batch, if there is one.
    pub fn receive(&mut self, answer: Answer, world: World<'_>) -> Option<Statement> {
        let mut batch = self.batch.take()?;
        match (batch.stage, answer) {
            (_, Answer::Lost) => self.lose(batch, world),
            (Stage::Reading, Answer::Row(row)) => self.update_if(batch, row, world),
            (Stage::Updating, Answer::Updated(xmin)) => {
                if self.kind == Kind::Line {
                    let value = batch.result.clone();
                    self.kept = Some(Row { value, xmin });
                }
                self.end(batch, None)
            }
            (Stage::Updating, Answer::Missed) => {
                if world.rules.mistake == Some(Mistake::TakesNoRowForSuccess) {
                    return self.end(batch, None);
                }
                self.lock(batch)
            }
            (Stage::Locking, Answer::Row(row)) => self.locked(batch, row, world),
            (Stage::Writing, Answer::Updated(xmin)) => {
                batch.wrote = Some(xmin);
                self.send(batch, Stage::Committing, Statement::Commit)
            }
            (Stage::Committing, Answer::Done) => self.end(batch, None),
            (Stage::RollingBack(reply), Answer::Done) => self.end(batch, reply),
            (stage, answer) => unreachable!("{answer:?} while {stage:?}"),
        }
    }

    /// The conditional path: one statement in autocommit, on a row that is not locked.
    fn update_if(&mut self, mut batch: Batch, row: Row, world: World<'_>) -> Option<Statement> {
        let stamp = row.xmin;
        batch.run_on(row, world);
        if batch.added.is_empty() {
            // There is nothing to write, so no statement would notice that the row has changed.
            if world.rules.mistake == Some(Mistake::ReturnsAnErrFromAStaleRow) {
                return self.end(batch, None);
            }
            return self.lock(batch);
        }
        if world.rules.mistake == Some(Mistake::AnswersABatchBeforeItsStatement) {
            self.reply(&batch, None);
        }
        let statement = Statement::UpdateIf(stamp, batch.write());
        self.send(batch, Stage::Updating, statement)
    }

    /// The lock path.
    fn lock(&mut self, batch: Batch) -> Option<Statement> {
        self.send(batch, Stage::Locking, Statement::Lock)
    }

    fn locked(&mut self, mut batch: Batch, mut row: Row, world: World<'_>) -> Option<Statement> {
        if let Some(doubt) = batch.doubt {
            let mut reply = (row.xmin != doubt.replaces).then_some(Reply::InDoubt);
            match world.rules.mistake {
                Some(Mistake::ResolvesWithoutAWrite) => reply = reply.or(Some(Reply::NotApplied)),
                Some(Mistake::ResolvesByTheStampItWrote) if doubt.wrote == Some(row.xmin) => {
                    self.reply(&batch, None);
                }
                _ => {}
            }
            if reply.is_some() {
                return self.send(batch, Stage::RollingBack(reply), Statement::Rollback);
            }
        }
        // `None`, except with a planted mistake.
        if let Some(remembered) = self.remembered.take() {
            if remembered.xmin == row.xmin {
                row = remembered;
            }
        }
        batch.run_on(row, world);
        // After a doubt the client always writes the row: the server may still execute the lost
        // statement, and a new stamp makes sure that it then changes no row.
        if batch.added.is_empty() && batch.doubt.is_none() {
            return self.send(batch, Stage::RollingBack(None), Statement::Rollback);
        }
        let statement = Statement::Update(batch.write());
        self.send(batch, Stage::Writing, statement)
    }

    /// Handles the loss of the connection before the answer to a statement.
    ///
    /// If the statement can commit, the client never sends it again, and the batch is in doubt. The
    /// client can resolve that by X, the stamp of the row that the statement replaces: it locks the
    /// row on a new session.
    ///
    /// - The stamp is X: the statement is not in the history of this server. It would come after
    ///   transaction X there, and a history contains each id only once, so the row could not have
    ///   the stamp X again. The batch runs again on the locked row in the same transaction. That
    ///   changes the stamp, so the lost statement can't change the row any more.
    /// - The stamp is not X: nothing is known, and the batch stays in doubt.
    fn lose(&mut self, mut batch: Batch, world: World<'_>) -> Option<Statement> {
        if let Stage::RollingBack(reply) = batch.stage {
            self.end(batch, reply);
            self.reconnect(world.rules);
            return None;
        }
        self.reconnect(world.rules);
        let could_commit = matches!(batch.stage, Stage::Updating | Stage::Committing);
        if could_commit && world.rules.mistake == Some(Mistake::TriesALostAnswerAgain) {
            return self.lock(batch);
        }
        if let Some(base) = &batch.base {
            if could_commit && world.rules.resolve && batch.doubt.is_none() && batch.runs < 2 {
                batch.doubt = Some(Doubt {
                    replaces: base.xmin,
                    wrote: batch.wrote,
                });
                return self.lock(batch);
            }
        }
        let forgets = world.rules.mistake == Some(Mistake::ForgetsTheFirstDoubt);
        let in_doubt = could_commit || (batch.doubt.is_some() && !forgets);
        let reply = if in_doubt {
            Reply::InDoubt
        } else {
            Reply::NotApplied
        };
        self.end(batch, Some(reply))
    }

    /// Opens a new connection. A stamp is valid only for the session that read it.
    pub fn reconnect(&mut self, rules: Rules) {
        match rules.mistake {
            Some(Mistake::KeepsTheStampOverAReconnect) => {}
            Some(Mistake::ComparesTheStampAfterAReconnect) => {
                self.remembered = self.kept.take().or(self.remembered.take());
            }
            _ => self.kept = None,
        }
    }

    fn send(&mut self, mut batch: Batch, stage: Stage, next: Statement) -> Option<Statement> {
        batch.stage = stage;
        self.batch = Some(batch);
        Some(next)
    }

    /// Ends a batch. `None` stands for the results of its closures.
    fn end(&mut self, batch: Batch, reply: Option<Reply>) -> Option<Statement> {
        self.reply(&batch, reply);
        None
    }

    fn reply(&mut self, batch: &Batch, reply: Option<Reply>) {
        for &change in &batch.changes {
            let own = if batch.added.contains(&change) {
                Reply::Ok
            } else {
                Reply::Refused { firm: batch.firm }
            };
            if !self.replies.iter().any(|(other, _)| *other == change) {
                self.replies.push((change, reply.unwrap_or(own)));
            }
        }
    }
}
