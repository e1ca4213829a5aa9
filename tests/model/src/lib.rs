//! A model of the protocol of `update_row` and `RowQueue::update`.
//!
//! Two processes with one connection each change one row ([`client`]). The server follows the rules
//! of PostgreSQL for row locks and transaction ids ([`server`]). A step sends, executes or answers
//! one statement, cuts a connection, or restarts the server. [`stateright`] visits every state that
//! any order of these steps can reach, and checks the [`promises`] in each. `tests/protocol.rs` has
//! the laws: the promises hold, and each planted mistake breaks one.
//!
//! The model leaves out: statements that the database refuses, wraparound of transaction ids, more
//! than one row, an old primary that still runs after a failover, a pooler that changes the server
//! session below a connection.

pub mod client;
pub mod promises;
pub mod server;

use stateright::{Model, Property};

use self::client::{Client, Kind, Reply, Rules, World};
use self::server::{Change, Server, Session};

/// The clients, and the faults that may happen.
#[derive(Clone, Debug, Default)]
pub struct Protocol {
    pub clients: Vec<(Kind, Vec<Change>)>,
    pub rules: Rules,
    /// The number of connections that are cut.
    pub cuts: u8,
    /// The number of crashes or failovers.
    pub restarts: u8,
    /// The server acknowledges a commit before it is safe (`synchronous_commit = off`, or failover to
    /// an asynchronous standby). A restart may lose the last commits, and then assigns their ids
    /// again.
    pub asynchronous: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub server: Server,
    pub clients: Vec<Client>,
    /// The changes whose callers got `Ok` before a restart lost the commit.
    pub forgiven: Vec<Change>,
    cuts: u8,
    restarts: u8,
}

/// Client `i` uses session `i`. Sessions with higher numbers have lost their client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client begins a batch of this size.
    Start(usize, usize),
    /// The server executes the statement of a session.
    Run(usize),
    /// The answer reaches the client.
    Receive(usize),
    /// An idle client notices the loss of its server, and connects again.
    Reconnect(usize),
    /// The connection of a client is cut before or after the server executes its statement.
    Cut(usize),
    /// The server notices the loss of a client.
    Notice(usize),
    /// The server crashes; it, or its standby, continues with this number of versions.
    Restart(usize),
}

impl Action {
    fn is_fault(self) -> bool {
        matches!(self, Self::Cut(_) | Self::Restart(_))
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let clients = self.clients.iter();
        vec![State {
            server: Server::new(self.clients.len()),
            clients: clients
                .map(|(kind, changes)| Client::new(*kind, changes))
                .collect(),
            forgiven: Vec::new(),
            cuts: self.cuts,
            restarts: self.restarts,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let server = &state.server;
        for (i, client) in state.clients.iter().enumerate() {
            let session = &server.sessions[i];
            if client.batch.is_none() {
                actions.extend(client.batch_sizes().map(|size| Action::Start(i, size)));
                actions.extend(session.dead.then_some(Action::Reconnect(i)));
            } else {
                let cuts = state.cuts > 0 && !session.dead;
                actions.extend(session.answer.is_some().then_some(Action::Receive(i)));
                actions.extend(cuts.then_some(Action::Cut(i)));
            }
        }
        for i in 0..server.sessions.len() {
            actions.extend(server.can_run(i).then_some(Action::Run(i)));
            actions.extend((i >= state.clients.len()).then_some(Action::Notice(i)));
        }
        if state.restarts > 0 {
            let all = server.history.len();
            let least = if self.asynchronous { 1 } else { all };
            actions.extend((least..=all).map(Action::Restart));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let State {
            server, clients, ..
        } = &mut state;
        match action {
            Action::Start(i, size) => {
                let next = clients[i].start(size, self.world(server));
                server.send(i, next);
            }
            Action::Run(i) => server.run(i),
            Action::Receive(i) => {
                let answer = server.sessions[i].answer.take()?;
                let lost = server.sessions[i].dead;
                let next = clients[i].receive(answer, self.world(server));
                if lost {
                    server.sessions[i] = Session::default();
                }
                server.send(i, next);
            }
            Action::Reconnect(i) => {
                clients[i].reconnect(self.rules);
                server.sessions[i] = Session::default();
            }
            Action::Cut(i) => {
                server.cut(i);
                state.cuts -= 1;
            }
            Action::Notice(i) => server.notice(i),
            Action::Restart(keep) => {
                let lost = server.restart(clients.len(), keep);
                state.restarts -= 1;
                let lost: Vec<_> = lost.into_iter().flat_map(|version| version.adds).collect();
                let replies = state.clients.iter().flat_map(|client| &client.replies);
                let acknowledged = replies.filter(|(_, reply)| *reply == Reply::Ok);
                let forgiven = acknowledged.map(|(change, _)| *change);
                state.forgiven = forgiven.filter(|change| lost.contains(change)).collect();
            }
        }
        let row = state.server.row();
        for batch in state
            .clients
            .iter_mut()
            .flat_map(|client| &mut client.batch)
        {
            batch.look(&row.value);
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}

impl Protocol {
    fn world<'a>(&self, server: &'a Server) -> World<'a> {
        World {
            rules: self.rules,
            committed: &server.row().value,
        }
    }

    /// Returns whether a client makes this call.
    fn has(&self, wanted: Kind) -> bool {
        self.clients.iter().any(|(kind, _)| *kind == wanted)
    }
}

impl State {
    /// Returns whether every call has ended.
    pub fn is_done(&self) -> bool {
        let mut clients = self.clients.iter();
        clients.all(|client| client.batch.is_none() && client.waiting.is_empty())
    }
}
