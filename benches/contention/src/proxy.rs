//! A network on loopback: a proxy that lets each question of a client wait.
//!
//! The delay is added on the way to the server alone. A client of a database asks and then waits
//! for the answer, so to it the round trip is longer by that much, whichever way it was.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use url::Url;

/// Takes connections until the process ends.
pub(crate) struct Proxy {
    pub(crate) address: String,
}

impl Proxy {
    pub(crate) fn before(server: &Url, delay: Duration) -> Result<Self> {
        let host = server.host_str().context("a URL without a host")?;
        let default = if server.scheme() == "mysql" {
            3306
        } else {
            5432
        };
        let server = (host, server.port().unwrap_or(default))
            .to_socket_addrs()?
            .next()
            .with_context(|| format!("{host} is nowhere"))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If it fails, the client finds its connection closed.
                let _ = forward_both(client, server, delay);
            }
        });
        Ok(Self { address })
    }
}

fn forward_both(client: TcpStream, server: SocketAddr, delay: Duration) -> Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (questions, answers) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || forward(questions, server, delay));
    thread::spawn(move || forward(answers, client, Duration::ZERO));
    Ok(())
}

fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
