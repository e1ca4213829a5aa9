//! Ports that nobody listens on.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{bail, Result};

/// Below the ports that the kernel hands out to clients: one that tries again and again to reach a
/// server which was killed must not be given that server's own port.
const FIRST: u16 = 15_000;
const NUMBER: u16 = 16_000;

/// The first of so many ports in a row, none of which this process has been given before.
pub(crate) fn free(count: u16) -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other processes begin elsewhere.
    let offset = u16::try_from(process::id() % u32::from(NUMBER))?;
    for _ in 0..1000 {
        let next = NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST + (offset + next % NUMBER) % NUMBER;
        if (first..first + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        {
            return Ok(first);
        }
    }
    bail!("no port is free")
}
