//! The stage: players, of whom one moves at a time.
//!
//! The director opens one gate, and then waits until each player stands at a gate again, is done,
//! or is blocked by another one. Of the last only the server knows, so the server is asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use diesel::result::ConnectionResult;

use super::limits::{Deadline, Limits};
use super::player::{perform, Ended, Gate, Line, Message, Part, Stops};
use super::script::{one_line, Script};
use super::watch::{Seen, Watch};
use super::RaceError;
use crate::connection::LockConnection;

#[derive(Debug)]
enum State {
    /// Before a statement, a step of this name, or (empty) its part.
    Stands(String),
    Moves,
    Done(Ended),
}

struct Player {
    seen: Seen,
    stops: Stops,
    /// `None` once the director has given up.
    open: Option<Sender<()>>,
    state: State,
    /// How many statements it has sent.
    sent: usize,
}

/// Lets players go on, one at a time.
pub(super) struct Director<'w, C> {
    players: Vec<Player>,
    inbox: Receiver<(usize, Message)>,
    watcher: &'w mut C,
    limits: Limits,
    /// When the time for all runs is over.
    end: Deadline,
    over: Arc<AtomicBool>,
    script: Script,
}

/// Puts the parts on a stage, lets `direct` move them, and then all go on to their ends.
///
/// Returns what was played, and how each part ended.
pub(super) fn play<C>(
    connect: &dyn Fn() -> ConnectionResult<C>,
    watcher: &mut C,
    limits: Limits,
    end: Deadline,
    parts: Vec<Part<'_, C>>,
    direct: impl FnOnce(&mut Director<'_, C>) -> Result<(), RaceError>,
) -> Result<(Script, Vec<Ended>), RaceError>
where
    C: LockConnection<Backend: Watch> + Send,
{
    let (outbox, inbox) = mpsc::channel();
    thread::scope(|scope| {
        let mut director = Director {
            players: Vec::new(),
            inbox,
            watcher,
            limits,
            end,
            over: Arc::default(),
            script: Script::new(parts.iter().map(|part| part.name)),
        };
        for (who, part) in parts.into_iter().enumerate() {
            let mut conn = connect().map_err(RaceError::Connect)?;
            let session = C::Backend::session(&mut conn).map_err(RaceError::Watch)?;
            // If this loop ends early, `open` is dropped with the director. The players at their
            // gates then leave, and the scope can end.
            let (open, opened) = mpsc::channel();
            let gate = Gate {
                line: Line {
                    who,
                    outbox: outbox.clone(),
                    over: Arc::clone(&director.over),
                },
                open: opened,
            };
            let stops = part.stops;
            scope.spawn(move || perform(conn, part, gate));
            director.players.push(Player {
                seen: Seen {
                    session,
                    answered: Vec::new(),
                    statement: None,
                },
                stops,
                open: Some(open),
                state: State::Moves,
                sent: 0,
            });
        }
        // The players' are the only senders from here on: when the last player is gone the inbox
        // says so.
        drop(outbox);
        let played = director
            .settle()
            .and_then(|()| direct(&mut director))
            .and_then(|()| director.finish());
        match played {
            Ok(()) => Ok(director.into_played()),
            Err(error) => Err(director.give_up(error)),
        }
    })
}

impl<C> Director<'_, C>
where
    C: LockConnection<Backend: Watch>,
{
    /// What this player stands before.
    pub(super) fn stands(&self, who: usize) -> Option<&str> {
        match &self.players[who].state {
            State::Stands(before) => Some(before),
            _ => None,
        }
    }

    pub(super) fn script(&self) -> &Script {
        &self.script
    }

    pub(super) fn is_done(&self, who: usize) -> bool {
        matches!(self.players[who].state, State::Done(_))
    }

    /// Lets a player that stands go on, until each one stands, is done or is blocked.
    pub(super) fn go(&mut self, who: usize) -> Result<(), RaceError> {
        let player = &mut self.players[who];
        let State::Stands(before) = &player.state else {
            return Ok(());
        };
        let before = before.clone();
        if before.is_empty() {
            // Its part begins, and has no name.
        } else if player.stops == Stops::AtSteps {
            self.script.begins_step(who, &before);
        } else {
            self.sends(who, before)?;
        }
        let player = &mut self.players[who];
        player.state = State::Moves;
        if let Some(open) = &player.open {
            // A player that is gone has told how its part ended.
            let _ = open.send(());
        }
        self.settle()
    }

    /// Lets all go on, in their order, until all are done.
    fn finish(&mut self) -> Result<(), RaceError> {
        let mut patience = Deadline::after(self.limits.patience);
        loop {
            self.settle()?;
            if let Some(who) = self.first(|state| matches!(state, State::Stands(_))) {
                self.go(who)?;
                patience = Deadline::after(self.limits.patience);
                continue;
            }
            let Some(who) = self.first(|state| matches!(state, State::Moves)) else {
                return Ok(());
            };
            // They block each other, and only the server can end that.
            match self.inbox.recv_timeout(C::Backend::PAUSE) {
                Ok((who, message)) => {
                    self.hear(who, message)?;
                    patience = Deadline::after(self.limits.patience);
                }
                Err(_) if patience.is_over() => return Err(self.stuck(who)),
                Err(_) => {}
            }
        }
    }

    /// Waits until each player stands, is done or is blocked.
    fn settle(&mut self) -> Result<(), RaceError> {
        let mut patience = Deadline::after(self.limits.patience);
        while let Some(who) = self.first(|state| matches!(state, State::Moves)) {
            if self.end.is_over() {
                return Err(self.out_of_time(who));
            }
            match self.inbox.recv_timeout(C::Backend::PAUSE) {
                Ok((who, message)) => {
                    self.hear(who, message)?;
                    patience = Deadline::after(self.limits.patience);
                }
                // Silence proves nothing: a slow statement is silent too. Only the server can say
                // that one is blocked.
                Err(RecvTimeoutError::Timeout) if self.all_who_move_are_blocked()? => break,
                Err(_) if patience.is_over() => return Err(self.stuck(who)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn first(&self, is: impl Fn(&State) -> bool) -> Option<usize> {
        self.players.iter().position(|player| is(&player.state))
    }

    fn hear(&mut self, who: usize, message: Message) -> Result<(), RaceError> {
        let player = &mut self.players[who];
        let failed = matches!(&message, Message::HasAnswer(Some(_)));
        // Diesel does not report every answer, but a session that sends its next statement has had
        // it.
        match player.seen.statement.take() {
            Some(answered) if !failed => player.seen.answered.push(answered),
            _ => {}
        }
        let state = match message {
            Message::Stands(before) => State::Stands(before),
            Message::Sends(sql) => {
                self.sends(who, sql)?;
                State::Moves
            }
            Message::HasAnswer(error) => {
                self.script.answers(who, error);
                State::Moves
            }
            Message::HidesWork(work) => {
                return Err(RaceError::HiddenWork {
                    player: self.script.name(who).to_owned(),
                    work,
                    script: self.script.clone(),
                });
            }
            Message::IsDone(ended) => {
                self.script.ends(who, &ended);
                State::Done(ended)
            }
        };
        self.players[who].state = state;
        Ok(())
    }

    fn sends(&mut self, who: usize, sql: String) -> Result<(), RaceError> {
        let player = &mut self.players[who];
        if player.sent >= self.limits.statements {
            return Err(RaceError::StatementLimit {
                player: self.script.name(who).to_owned(),
                limit: self.limits.statements,
                script: self.script.clone(),
            });
        }
        player.sent += 1;
        self.script.sends(who, &sql);
        player.seen.statement = Some(sql);
        Ok(())
    }

    fn all_who_move_are_blocked(&mut self) -> Result<bool, RaceError> {
        for (who, player) in self.players.iter().enumerate() {
            match player.state {
                // Between two statements it runs code of its own.
                State::Moves if player.seen.statement.is_none() => return Ok(false),
                State::Moves => {}
                State::Stands(_) | State::Done(_) => continue,
            }
            let is_other = |&other: &usize| other != who && !self.is_done(other);
            let others: Vec<usize> = (0..self.players.len()).filter(is_other).collect();
            let seen: Vec<Seen> = others
                .iter()
                .map(|&other| self.players[other].seen.clone())
                .collect();
            let blockers = C::Backend::waits_for(self.watcher, &player.seen, &seen)
                .map_err(RaceError::Watch)?;
            if blockers.is_empty() {
                return Ok(false);
            }
            let blocks = |other: &usize| blockers.contains(&self.players[*other].seen.session);
            self.script
                .waits(who, others.into_iter().filter(blocks).collect());
        }
        Ok(true)
    }

    fn stuck(&self, who: usize) -> RaceError {
        RaceError::Stuck {
            player: self.script.name(who).to_owned(),
            step: self.step(who),
            after: self.limits.patience,
            script: self.script.clone(),
        }
    }

    fn out_of_time(&self, who: usize) -> RaceError {
        RaceError::TimeLimit {
            player: self.script.name(who).to_owned(),
            step: self.step(who),
            after: self.limits.time,
            script: self.script.clone(),
        }
    }

    /// What a player that moves is doing.
    fn step(&self, who: usize) -> String {
        match &self.players[who].seen.statement {
            Some(statement) => one_line(statement),
            None => "its own work".to_owned(),
        }
    }

    /// Ends all sessions and players, so that none holds a lock or waits for one when an error is
    /// returned.
    fn give_up(mut self, error: RaceError) -> RaceError {
        // Before any gate is given up: a player that passes one looks at this and unwinds.
        self.over.store(true, Ordering::SeqCst);
        // All of them, not only the one that is stuck: each may hold what another one waits for.
        for player in &mut self.players {
            if !matches!(player.state, State::Done(_)) {
                // Before the gate: its statement, which may wait for a lock, ends with an error.
                let _ = C::Backend::end_session(self.watcher, player.seen.session);
            }
            player.open = None;
        }
        let grace = Deadline::after(self.limits.patience.max(Duration::from_secs(5)));
        while let Some(who) = self.first(|state| !matches!(state, State::Done(_))) {
            match self.inbox.recv_timeout(C::Backend::PAUSE) {
                Ok((who, Message::IsDone(ended))) => self.players[who].state = State::Done(ended),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if !grace.is_over() => {}
                Err(_) => {
                    // A thread can't be ended from outside, and without its end this call can't
                    // return the error. It is said at least.
                    let player = self.script.name(who);
                    eprintln!("waiting for {player} to return, after this error: {error}");
                    break;
                }
            }
        }
        error
    }

    fn into_played(self) -> (Script, Vec<Ended>) {
        let ended = self.players.into_iter().map(|player| match player.state {
            State::Done(ended) => ended,
            state => Err(format!("{state:?}")),
        });
        (self.script, ended.collect())
    }
}
