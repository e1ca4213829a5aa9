//! A process of its own that plays a part in a test, so that it can be frozen or killed.
//!
//! The part is an ignored test of this same binary. Both sides speak in lines.

use std::env;
use std::io::{stdin, BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Command, Stdio};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

const URL: &str = "PART_URL";
/// Libtest writes to the same lines.
const MARK: &str = "[part] ";

pub(crate) struct Child {
    process: std::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts the ignored test of this name.
    pub(crate) fn play(part: &str, url: &str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", part])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next thing that the child says.
    pub(crate) fn hear(&mut self) -> String {
        self.lines
            .find_map(|line| Some(line.unwrap().split_once(MARK)?.1.to_owned()))
            .expect("the child ended without a word")
    }

    /// Wakes the child from [`listen`].
    pub(crate) fn nudge(&mut self) {
        writeln!(self.process.stdin.as_mut().unwrap()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The parts that children play: `[postgres] fn part(url) { … }` is played by `db.play("file::part")`.
macro_rules! parts {
    ($(
        $(#[$attribute:meta])*
        [$($backend:ident),+] fn $part:ident($url:ident) $body:block
    )+) => {$(
        $(#[$attribute])*
        mod $part {
            #[allow(unused_imports)]
            use super::*;
            $(
                crate::support::if_compiled_in! { $backend
                    #[test]
                    #[ignore = "played by a process of its own, for a law"]
                    fn $backend() {
                        #[allow(unused_imports)]
                        use crate::support::$backend::Conn;
                        let Some($url) = crate::support::child::url() else {
                            return;
                        };
                        $body
                    }
                }
            )+
        }
    )+};
}
pub(crate) use parts;

/// In the child: the database that the test has made. `None` if nobody has asked for the part.
pub(crate) fn url() -> Option<String> {
    env::var(URL).ok()
}

/// In the child.
pub(crate) fn say(what: impl std::fmt::Display) {
    #[allow(clippy::print_stdout)]
    {
        println!("{MARK}{what}");
    }
}

/// In the child: waits for [`Child::nudge`].
pub(crate) fn listen() {
    stdin().lines().next().unwrap().unwrap();
}
