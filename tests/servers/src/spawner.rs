//! The one thread that starts all servers.
//!
//! A server is to end with the process that has started it, even if that one is killed. The kernel
//! sees to it, but goes by the *thread*: a server that a test's thread had started would end with
//! that thread, whoever holds its value by then. So all are started by a thread that goes on until
//! the process ends.

use std::io::Result as IoResult;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

type Reply = Sender<IoResult<Child>>;

static REQUESTS: LazyLock<Sender<(Arc<Mutex<Command>>, Reply)>> = LazyLock::new(|| {
    let (requests, received) = mpsc::channel::<(Arc<Mutex<Command>>, Reply)>();
    thread::spawn(move || {
        for (command, reply) in received {
            let mut command = command.lock().unwrap_or_else(PoisonError::into_inner);
            // Who asked waits for it.
            let _ = reply.send(command.spawn());
        }
    });
    requests
});

pub(crate) fn spawn(command: &Arc<Mutex<Command>>) -> Result<Child> {
    let (reply, answer) = mpsc::channel();
    REQUESTS.send((Arc::clone(command), reply))?;
    answer.recv()?.context("cannot run bash")
}
