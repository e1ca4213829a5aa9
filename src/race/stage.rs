//! The stage: players, of whom one moves at a time.
//!
//! The director opens one gate, and then waits until everybody stands at a gate again, is done, or
//! is blocked by somebody else. Of the last only the server knows, so the server is asked.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use diesel::result::ConnectionResult;

use super::player::{perform, Ended, Gate, Message, Part, Stops};
use super::script::Script;
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
    open: Sender<()>,
    state: State,
}

/// Lets players go on, one at a time.
pub(super) struct Director<'w, C> {
    players: Vec<Player>,
    inbox: Receiver<(usize, Message)>,
    watcher: &'w mut C,
    patience: Duration,
    script: Script,
}

/// Puts the parts on a stage, lets `direct` move them, and then all go on to their ends.
///
/// Returns what was played, and how each part ended.
pub(super) fn play<C>(
    connect: &dyn Fn() -> ConnectionResult<C>,
    watcher: &mut C,
    patience: Duration,
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
            patience,
            script: Script::new(parts.iter().map(|part| part.name)),
        };
        for (who, part) in parts.into_iter().enumerate() {
            let mut conn = connect().map_err(RaceError::Connect)?;
            let session = C::Backend::session(&mut conn).map_err(RaceError::Watch)?;
            let (open, opened) = mpsc::channel();
            let gate = Gate {
                who,
                outbox: outbox.clone(),
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
                open,
                state: State::Moves,
            });
        }
        drop(outbox);
        let played = director
            .settle()
            .and_then(|()| direct(&mut director))
            .and_then(|()| director.finish());
        match played {
            Ok(()) => Ok(director.into_played()),
            Err(error) => {
                director.end_all();
                Err(error)
            }
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

    /// Lets a player that stands go on, until everybody stands, is done or is blocked.
    pub(super) fn go(&mut self, who: usize) -> Result<(), RaceError> {
        let player = &mut self.players[who];
        let State::Stands(before) = &player.state else {
            return Ok(());
        };
        if before.is_empty() {
            // Its part begins, and has no name.
        } else if player.stops == Stops::AtSteps {
            self.script.begins_step(who, before);
        } else {
            self.script.sends(who, before.clone());
            player.seen.statement = Some(before.clone());
        }
        player.state = State::Moves;
        let _ = player.open.send(());
        self.settle()
    }

    /// Lets all go on, in their order, until all are done.
    fn finish(&mut self) -> Result<(), RaceError> {
        let deadline = Instant::now() + self.patience;
        while let Some(next) = (0..self.players.len()).find(|&who| !self.is_done(who)) {
            let standing = (0..self.players.len()).find(|&who| self.stands(who).is_some());
            match standing {
                Some(who) => self.go(who)?,
                // They block each other: the server ends that, or nobody.
                None => match self.inbox.recv_timeout(C::Backend::PAUSE) {
                    Ok((who, message)) => self.hear(who, message),
                    Err(_) if Instant::now() < deadline => {}
                    Err(_) => return Err(self.stuck(next)),
                },
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), RaceError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let moving = |player: &Player| matches!(player.state, State::Moves);
            let Some(who) = self.players.iter().position(moving) else {
                return Ok(());
            };
            match self.inbox.recv_timeout(C::Backend::PAUSE) {
                Ok((who, message)) => self.hear(who, message),
                Err(RecvTimeoutError::Timeout) if self.all_who_move_are_blocked()? => return Ok(()),
                Err(_) if Instant::now() < deadline => {}
                Err(_) => return Err(self.stuck(who)),
            }
        }
    }

    fn hear(&mut self, who: usize, message: Message) {
        let player = &mut self.players[who];
        let failed = matches!(&message, Message::HasAnswer(Some(_)));
        // Diesel does not tell of every answer, but who sends the next statement has had it.
        match player.seen.statement.take() {
            Some(answered) if !failed => player.seen.answered.push(answered),
            _ => {}
        }
        player.state = match message {
            Message::Stands(before) => State::Stands(before),
            Message::Sends(sql) => {
                self.script.sends(who, sql.clone());
                player.seen.statement = Some(sql);
                State::Moves
            }
            Message::HasAnswer(error) => {
                self.script.answers(who, error);
                State::Moves
            }
            Message::IsDone(ended) => {
                self.script.ends(who, &ended);
                State::Done(ended)
            }
        };
    }

    fn all_who_move_are_blocked(&mut self) -> Result<bool, RaceError> {
        for (who, player) in self.players.iter().enumerate() {
            match player.state {
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
            step: match &self.players[who].seen.statement {
                Some(statement) => statement.clone(),
                None => "its own work".to_owned(),
            },
            after: self.patience,
            script: self.script.clone(),
        }
    }

    /// Nobody is to hold a lock, or to wait for one, when an error is returned.
    fn end_all(mut self) {
        for player in &self.players {
            if !matches!(player.state, State::Done(_)) {
                let _ = C::Backend::end_session(self.watcher, player.seen.session);
            }
        }
        // Opens all gates.
        self.players.clear();
    }

    fn into_played(self) -> (Script, Vec<Ended>) {
        let ended = self.players.into_iter().map(|player| match player.state {
            State::Done(ended) => ended,
            state => Err(format!("{state:?}")),
        });
        (self.script, ended.collect())
    }
}
