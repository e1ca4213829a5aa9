//! A proxy on loopback that counts round trips, and that can cut the connection at COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards one connection to a server, and counts how often the client speaks after the server
/// has spoken.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    turns: Arc<Mutex<Turns>>,
}

#[derive(Default)]
struct Turns {
    number: usize,
    client_speaks: bool,
    cut: Option<Cut>,
    committing: bool,
}

/// Where the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server never hears of the COMMIT.
    BeforeCommit,
    /// The server hears of it, and is then alone.
    BehindCommit,
    /// The server has answered, and the client never hears of it.
    BeforeAnswer,
}

impl Wire {
    pub(crate) fn to(server: &str) -> Self {
        Self::with(server, None)
    }

    /// Cuts the connection at its first `COMMIT`.
    pub(crate) fn that_cuts(server: &str, cut: Cut) -> Self {
        Self::with(server, Some(cut))
    }

    fn with(server: &str, cut: Option<Cut>) -> Self {
        let server = server.to_socket_addrs().unwrap().next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let turns = Arc::new(Mutex::new(Turns {
            cut,
            ..Turns::default()
        }));
        let counted = Arc::clone(&turns);
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(server).unwrap();
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let answers = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let questions = Arc::clone(&counted);
            thread::spawn(move || forward(client, server, true, &questions));
            forward(answers.0, answers.1, false, &counted);
        });
        Self { address, turns }
    }

    /// The round trips that `act` takes.
    pub(crate) fn round_trips(&self, act: impl FnOnce()) -> usize {
        let before = self.turns.lock().unwrap().number;
        act();
        self.turns.lock().unwrap().number - before
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, from_client: bool, turns: &Mutex<Turns>) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let (cut, committing) = {
            // Before it is passed on: nobody can answer what has not arrived.
            let mut turns = turns.lock().unwrap();
            if from_client && !turns.client_speaks {
                turns.number += 1;
            }
            turns.client_speaks = from_client;
            let commits = buffer[..length].windows(6).any(|word| word == b"COMMIT");
            turns.committing |= from_client && commits;
            (turns.cut, turns.committing)
        };
        let cut = cut.filter(|_| committing);
        let stop = match cut {
            Some(Cut::BeforeCommit) => true,
            Some(Cut::BeforeAnswer) => !from_client,
            Some(Cut::BehindCommit) | None => false,
        };
        if stop || to.write_all(&buffer[..length]).is_err() || cut == Some(Cut::BehindCommit) {
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
