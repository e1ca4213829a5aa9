//! A proxy on loopback that counts round trips.

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
}

impl Wire {
    pub(crate) fn to(server: &str) -> Self {
        let server = server.to_socket_addrs().unwrap().next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let turns = Arc::<Mutex<Turns>>::default();
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
        {
            // Before it is passed on: nobody can answer what has not arrived.
            let mut turns = turns.lock().unwrap();
            if from_client && !turns.client_speaks {
                turns.number += 1;
            }
            turns.client_speaks = from_client;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
