//! One connection, forwarded message by message.
//!
//! By one thread: a socket on which another one waits is not reset when it is closed.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use socket2::SockRef;

use super::framing::Framing;
use super::{Commit, Cut, Log, Word};

pub(super) fn relay(client: TcpStream, server: TcpStream, log: &Log) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let mut connection = Connection {
        client,
        server,
        log,
        framing: None,
        unsent: Vec::new(),
        at_next_answer: None,
        commit_is_prepared: false,
        commit: None,
        startup: Vec::new(),
        answers_itself: false,
    };
    // What fails here has been cut by somebody else.
    let word = connection.forward().unwrap_or(Word::Fin);
    for stream in [&connection.client, &connection.server] {
        let _ = match word {
            Word::Fin => stream.shutdown(Shutdown::Both),
            Word::Rst => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
        };
    }
}

struct Connection<'l> {
    client: TcpStream,
    server: TcpStream,
    log: &'l Log,
    framing: Option<Framing>,
    /// The beginning of a message of the client.
    unsent: Vec<u8>,
    at_next_answer: Option<Word>,
    /// The next answer has the number of the prepared `COMMIT`.
    commit_is_prepared: bool,
    commit: Option<[u8; 4]>,
    /// By which the client of PostgreSQL has begun its session.
    startup: Vec<u8>,
    /// The next answer of the server is replaced by one of our own.
    answers_itself: bool,
}

/// What Vitess says of a lost server.
const LOST: &str = "vttablet: rpc error: code = Unavailable desc = error reading from server: EOF";

/// MySQL's commands.
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;

impl Connection<'_> {
    /// Says how it is to end.
    fn forward(&mut self) -> Result<Word> {
        let mut buffer = [0; 64 * 1024];
        loop {
            let (client, server) = self.wait()?;
            if server {
                let length = self.server.read(&mut buffer)?;
                if let Some(word) = self.at_next_answer {
                    return Ok(word);
                }
                if length == 0 {
                    return Ok(Word::Fin);
                }
                if std::mem::take(&mut self.answers_itself) {
                    self.answer_itself()?;
                    continue;
                }
                self.framing.get_or_insert(Framing::Mysql);
                if std::mem::take(&mut self.commit_is_prepared) {
                    // Behind the header and the `OK`.
                    self.commit = buffer[5..9].try_into().ok();
                }
                self.log.server_says();
                self.client.write_all(&buffer[..length])?;
            }
            if client {
                let length = self.client.read(&mut buffer)?;
                if length == 0 {
                    return Ok(Word::Fin);
                }
                self.unsent.extend_from_slice(&buffer[..length]);
                if let Some(word) = self.send()? {
                    return Ok(word);
                }
            }
        }
    }

    /// Which of the two can be read from.
    fn wait(&self) -> Result<(bool, bool)> {
        let mut both =
            [&self.client, &self.server].map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
        poll(&mut both, PollTimeout::NONE)?;
        let [client, server] = both.map(|one| one.any().unwrap_or(true));
        Ok((client, server))
    }

    /// An error in the place of the server's answer, which is thrown away.
    fn answer_itself(&mut self) -> Result<()> {
        self.log.server_says();
        if let Some(Framing::Mysql) = self.framing {
            // Its session stays: to begin another takes a password's dance.
            let error = [&b"\xff\x51\x04#HY000"[..], LOST.as_bytes()].concat();
            let length = u32::try_from(error.len()).unwrap().to_le_bytes();
            self.client
                .write_all(&[length[0], length[1], length[2], 1])?;
            return self.client.write_all(&error);
        }
        self.server = TcpStream::connect(self.server.peer_addr()?)?;
        self.server.write_all(&self.startup)?;
        let mut answer = [0; 64 * 1024];
        let mut length = 0;
        // Until it is ready for a query.
        while !answer[..length].ends_with(b"Z\0\0\0\x05I") {
            length += self.server.read(&mut answer[length..])?;
        }
        let fields = format!("SERROR\0C08006\0M{LOST}\0\0");
        let error = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        let message = [b"E", &error[..], fields.as_bytes(), b"Z\0\0\0\x05I"];
        self.client.write_all(&message.concat())
    }

    fn commit_of(&self, message: &[u8]) -> Commit {
        let is_mysql = matches!(self.framing, Some(Framing::Mysql));
        let command = message.get(4).filter(|_| is_mysql);
        let names_it = message.windows(6).any(|word| word == b"COMMIT");
        match command {
            Some(&PREPARE) if names_it => Commit::IsPrepared,
            Some(&EXECUTE) if self.commit.is_some_and(|id| message[5..].starts_with(&id)) => {
                Commit::Runs
            }
            _ if names_it => Commit::Runs,
            _ => Commit::No,
        }
    }

    /// Passes on what is whole of the client's messages.
    fn send(&mut self) -> Result<Option<Word>> {
        let mut framing = self.framing.unwrap_or(Framing::Postgres { begun: false });
        let mut sent = 0;
        let mut word = None;
        while let Some(length) = framing.first(&self.unsent[sent..]) {
            let message = &self.unsent[sent..sent + length];
            let begins = matches!(
                self.framing,
                None | Some(Framing::Postgres { begun: false })
            );
            if begins && matches!(framing, Framing::Postgres { begun: true }) {
                self.startup = message.to_vec();
            }
            self.framing = Some(framing);
            let commit = self.commit_of(message);
            self.commit_is_prepared = commit == Commit::IsPrepared;
            let cut = self.log.client_says(commit);
            word = cut.map(|(_, word)| word);
            match cut {
                Some((Cut::Before, _)) => break,
                Some((Cut::BeforeAnswer, word)) => self.at_next_answer = Some(word),
                Some((Cut::Answered, _)) => self.answers_itself = true,
                _ => {}
            }
            sent += length;
            if let Some((Cut::Behind, _)) = cut {
                break;
            }
            word = None;
        }
        self.framing = Some(framing);
        self.server.write_all(&self.unsent[..sent])?;
        self.unsent.drain(..sent);
        Ok(word)
    }
}
