//! Ports that nobody listens on.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{bail, Result};

/// Below the ports that the kernel hands out to clients: one that tries again and again to reach a
/// server which was killed must not be given that server's own port.
const FIRST: u16 = 15_000;
const NUMBER: u16 = 16_000;

/// What this process has been given. A server listens only a while after it has its port, and is
/// killed and started again on it. So the port is claimed by the socket of another protocol with
/// the same number, which the kernel gives to one process and takes back at its end.
static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// The first of so many ports in a row, none of which this process or another one has been given
/// before.
pub(crate) fn free(count: u16) -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other processes begin elsewhere, so that they seldom ask for the same ones.
    let offset = u16::try_from(process::id() % u32::from(NUMBER))?;
    for _ in 0..1000 {
        let next = NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST + (offset + next % NUMBER) % NUMBER;
        let claims: Option<Vec<_>> = (first..first + count).map(claim).collect();
        if let Some(claims) = claims {
            let mut all = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(claims);
            return Ok(first);
        }
    }
    bail!("no port is free")
}

/// `None` if a process has claimed the port, or listens on it.
fn claim(port: u16) -> Option<UdpSocket> {
    let address = (Ipv4Addr::LOCALHOST, port);
    let claim = UdpSocket::bind(address).ok()?;
    TcpListener::bind(address).ok().map(|_| claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_that_was_given_away_is_not_given_again_before_its_server_listens() {
        let port = free(2).unwrap();
        assert!(claim(port).is_none() && claim(port + 1).is_none());
        // The server itself has it.
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let other = free(1).unwrap();
        assert!(!(port..port + 2).contains(&other));
    }

    #[test]
    fn port_that_a_process_listens_on_is_not_given_away() {
        let port = free(1).unwrap();
        CLAIMS
            .lock()
            .unwrap()
            .retain(|it| it.local_addr().unwrap().port() != port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(claim(port).is_none());
        drop(listener);
        assert!(claim(port).is_some());
    }
}
