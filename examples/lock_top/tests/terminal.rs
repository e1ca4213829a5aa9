//! `lock_top`, driven in a terminal as its users do, on a server of its own: what it
//! ends must not be somebody else's.

#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg_attr(
    not(any(feature = "postgres", feature = "mysql")),
    allow(dead_code, reason = "no server is compiled in")
)]

use std::io::{Read, Write};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::Connection;
use diesel_row_lock::bounds::WaitsBackend;
use diesel_row_lock::waits::SessionId;
use diesel_row_lock::LockConnection;
use portable_pty::{native_pty_system, Child, CommandBuilder, MasterPty, PtySize};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lock_top");

const TABLES: &str = "
    CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner VARCHAR(100) NOT NULL);
    INSERT INTO accounts VALUES (1, 'Ada');";

/// Checks laws on each server.
macro_rules! on_a_server_of_its_own {
    ($($law:ident)*) => {$(
        mod $law {
            #[test]
            #[cfg(feature = "postgres")]
            fn postgres() {
                let server = servers::Postgres::new(&[]).unwrap();
                super::$law::<diesel::PgConnection>(&server.url());
            }

            #[test]
            #[cfg(feature = "mysql")]
            fn mysql() {
                let server = servers::MySql::new(&[]).unwrap();
                super::$law::<diesel::MysqlConnection>(&server.url());
            }

            #[test]
            #[cfg(feature = "mysql")]
            fn mariadb() {
                let server = servers::MariaDb::new(&[]).unwrap();
                super::$law::<diesel::MysqlConnection>(&server.url());
            }
        }
    )*};
}

on_a_server_of_its_own! {
    waiter_is_shown_until_its_blocker_commits_and_q_restores_the_terminal
    terminating_asks_first_and_frees_the_row
    selected_waiter_is_cancelled
    once_prints_who_waits_and_exits
}

fn waiter_is_shown_until_its_blocker_commits_and_q_restores_the_terminal<C: Sees>(url: &str) {
    let top = Terminal::run(url);
    top.wait_for("nobody waits");
    let row = Row::held_and_wanted::<C>(url);
    top.wait_for("1 session waits for a lock");
    top.wait_for(&format!("{} ", row.holder));
    top.wait_for(&format!("└ {}", row.waiter));
    top.wait_for("accounts");
    top.wait_for("UPDATE accounts SET owner = 'waiter'");
    row.commit();
    top.wait_for("nobody waits");
    top.quit();
}

fn terminating_asks_first_and_frees_the_row<C: Sees>(url: &str) {
    let top = Terminal::run(url);
    let row = Row::held_and_wanted::<C>(url);
    top.wait_for(&format!("└ {}", row.waiter));
    let question = format!("terminate session {}", row.holder);
    top.press("k");
    top.wait_for(&question);
    top.press("n");
    top.wait_for("nothing was done");
    top.wait_for("1 session waits for a lock");
    top.press("k");
    top.wait_for(&question);
    top.press("y");
    top.wait_for(&format!("terminated {}", row.holder));
    top.wait_for("nobody waits");
    assert!(row.wait_ends(), "the row is free");
    top.quit();
}

fn selected_waiter_is_cancelled<C: Sees>(url: &str) {
    let top = Terminal::run(url);
    let row = Row::held_and_wanted::<C>(url);
    top.wait_for(&format!("└ {}", row.waiter));
    // The blocker is idle: to cancel it changes nothing.
    top.press("c");
    top.wait_for(&format!("cancelled {}", row.holder));
    top.wait_for("1 session waits for a lock");
    top.press("\x1b[B");
    top.press("c");
    top.wait_for(&format!("cancelled {}", row.waiter));
    top.wait_for("nobody waits");
    assert!(!row.wait_ends(), "the statement was cancelled");
    top.quit();
}

fn once_prints_who_waits_and_exits<C: Sees>(url: &str) {
    let print = || {
        let output = once(url);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(print(), "nobody waits\n");
    let row = Row::held_and_wanted::<C>(url);
    let waiter = format!("└ {} ", row.waiter);
    wait_until("the wait is printed", Duration::from_millis(50), || {
        print().contains(&waiter)
    });
    let printed = print();
    let mut lines = printed.lines();
    assert!(lines.next().unwrap().starts_with("session "), "{printed}");
    let holder = format!("{} ", row.holder);
    assert!(lines.next().unwrap().starts_with(&holder), "{printed}");
    let waits = lines.next().unwrap();
    assert!(
        waits.starts_with(&waiter) && waits.contains("accounts"),
        "{printed}"
    );
    row.commit();
}

#[test]
fn url_of_no_server_is_refused() {
    assert_refused(&["sqlite://bank.db", "--once"], "the URL must begin with");
}

#[test]
#[cfg(feature = "postgres")]
fn server_that_does_not_answer_is_one_line() {
    assert_refused(&["postgres://nobody@127.0.0.1:1/x", "--once"], "127.0.0.1");
}

#[test]
#[cfg(feature = "postgres")]
fn output_that_is_no_terminal_is_refused() {
    let server = servers::Postgres::new(&[]).unwrap();
    assert_refused(&[&server.url()], "--once");
}

fn assert_refused(arguments: &[&str], says: &str) {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.contains(says), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

fn once(url: &str) -> Output {
    let mut top = Command::new(PROGRAM);
    top.args([url, "--once"]).output().unwrap()
}

/// Asks again and again until the answer is yes.
fn wait_until(what: &str, pause: Duration, mut answer: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !answer() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::park_timeout(pause);
    }
}

trait Sees: Connection + LockConnection<Backend: WaitsBackend> + Send + 'static {}
impl<C: Connection + LockConnection<Backend: WaitsBackend> + Send + 'static> Sees for C {}

/// A row that one session has, and another one waits for.
struct Row {
    holder: SessionId,
    waiter: SessionId,
    held: Box<dyn FnOnce()>,
    wait: thread::JoinHandle<bool>,
}

impl Row {
    fn held_and_wanted<C: Sees>(url: &str) -> Self {
        let connect = || C::establish(url).unwrap();
        let (mut holder, mut waiter) = (connect(), connect());
        holder.batch_execute(TABLES).unwrap();
        holder.batch_execute("BEGIN").unwrap();
        let update = |who: &str| format!("UPDATE accounts SET owner = '{who}' WHERE id = 1");
        holder.batch_execute(&update("holder")).unwrap();
        let wanted = update("waiter");
        Self {
            holder: SessionId::of(&mut holder).unwrap(),
            waiter: SessionId::of(&mut waiter).unwrap(),
            held: Box::new(move || holder.batch_execute("COMMIT").unwrap()),
            wait: thread::spawn(move || waiter.batch_execute(&wanted).is_ok()),
        }
    }

    fn commit(self) {
        (self.held)();
        assert!(self.wait.join().unwrap());
    }

    /// Whether the waiter had the row.
    fn wait_ends(self) -> bool {
        self.wait.join().unwrap()
    }
}

/// A terminal with the example in it.
struct Terminal {
    program: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Mutex<Box<dyn Write + Send>>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// How the terminal was set.
    before: String,
}

const SIZE: PtySize = PtySize {
    rows: 24,
    cols: 140,
    pixel_width: 0,
    pixel_height: 0,
};

impl Terminal {
    fn run(url: &str) -> Self {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let before = format!("{:?}", pair.master.get_termios());
        let mut command = CommandBuilder::new(PROGRAM);
        command.args([url, "--interval", "200ms"]);
        command.env("TERM", "xterm-256color");
        let program = pair.slave.spawn_command(command).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(SIZE.rows, SIZE.cols, 0)));
        let mut output = pair.master.try_clone_reader().unwrap();
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // At its end a terminal gives an error.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..read]);
            }
        });
        Self {
            program,
            keyboard: Mutex::new(pair.master.take_writer().unwrap()),
            master: pair.master,
            screen,
            before,
        }
    }

    fn wait_for(&self, text: &str) {
        let what = format!("the screen shows {text:?}");
        wait_until(&what, Duration::from_millis(10), || {
            self.screen
                .lock()
                .unwrap()
                .screen()
                .contents()
                .contains(text)
        });
    }

    fn press(&self, keys: &str) {
        let mut keyboard = self.keyboard.lock().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    fn quit(mut self) {
        assert!(self.screen.lock().unwrap().screen().alternate_screen());
        assert_ne!(
            format!("{:?}", self.master.get_termios()),
            self.before,
            "it is raw"
        );
        self.press("q");
        assert!(self.program.wait().unwrap().success());
        assert_eq!(format!("{:?}", self.master.get_termios()), self.before);
        wait_until("the screen is as it was", Duration::from_millis(10), || {
            let parser = self.screen.lock().unwrap();
            let screen = parser.screen();
            !screen.alternate_screen() && !screen.hide_cursor()
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
