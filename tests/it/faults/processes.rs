//! Client processes that are killed and frozen: this test binary, started once more with a part to
//! play.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_row_lock::{CommitToken, LockError, Locked, RowLock};
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;
use rand::Rng;

use super::day::Day;
use super::ledger::{purses, Purse, Teller};
use super::workload::{resolve, Bank, Deed, Desk, End};
use super::{storm, turn};
use crate::support::{laws, wait_until};

/// What a process is told by its environment.
const PART: &str = "FAULT_PART";
const BACKEND: &str = "FAULT_BACKEND";
const URL: &str = "FAULT_URL";
const SEED: &str = "FAULT_SEED";
const NUMBER: &str = "FAULT_NUMBER";

/// Begins each line that a process prints for the one that started it.
const MARK: &str = "process: ";

/// Not a law but the part that a process plays; without one it has nothing to do.
#[test]
fn part_of_a_process() {
    let Ok(part) = env::var(PART) else { return };
    match env::var(BACKEND).unwrap().as_str() {
        "postgres" => play::<PgConnection>(&part),
        "mysql" => play::<MysqlConnection>(&part),
        "sqlite" => play::<SqliteConnection>(&part),
        other => panic!("no backend {other}"),
    }
}

fn play<C: Teller>(part: &str) {
    let number = |variable| env::var(variable).unwrap().parse().unwrap();
    let bank = Bank::<C>::in_process(&env::var(URL).unwrap(), number(SEED));
    match part {
        "work" => work(&bank, number(NUMBER)),
        "hold" => hold(&bank),
        other => panic!("no part {other}"),
    }
}

/// At once, and whatever the test harness does with what tests print.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{MARK}{line}").unwrap();
}

/// Prints the token of each operation before it begins, and how it ended.
fn work<C: Teller>(bank: &Bank<C>, number: u64) {
    let mut desk = Desk::new(bank, &bank.office, number);
    loop {
        let (order, token) = (desk.next_order(), CommitToken::new());
        say(&format!("begins {token}"));
        match desk.carry_out_with(order, token).unwrap().end {
            End::Acked => say("acked"),
            End::Refused(why) => say(&format!("refused {}", why.replace('\n', " "))),
            end => panic!("{end:?}"),
        }
    }
}

/// Holds two purses until there is a line on standard input.
fn hold<C: Teller>(bank: &Bank<C>) {
    let mut conn = C::open(&bank.office).unwrap();
    conn.locked([1, 2], CommitToken::new(), None, &mut |_, _| {
        say("holds");
        io::stdin().read_line(&mut String::new()).unwrap();
        Ok(())
    })
    .unwrap();
    say("committed");
}

/// A process that plays a part.
struct Player {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Player {
    fn start<C>(part: &str, backend: &str, bank: &Bank<C>, number: u64) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["faults::processes::part_of_a_process", "--exact"])
            .args(["--nocapture", "--test-threads=1"])
            .env(PART, part)
            .env(BACKEND, backend)
            .env(URL, &bank.office)
            .env(SEED, bank.seed.to_string())
            .env(NUMBER, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Always read, so that it never waits for us to.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once(MARK) {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Self {
            child,
            stdin,
            lines,
        }
    }

    fn says(&self, expected: &str) {
        let line = self.lines.recv_timeout(Duration::from_secs(20));
        assert_eq!(line.unwrap(), expected);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Returns when all its threads have stopped.
    fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let state = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(state, WaitStatus::Stopped(self.pid(), Signal::SIGSTOP));
    }

    fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// Kills it; returns all that it has said since.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.into_iter().collect()
    }
}

/// What a process has done, by its own words. The orders are those of its number, which need not be
/// told; the last one it could not end is in doubt.
fn deeds_of<C: Teller>(bank: &Bank<C>, number: u64, lines: &[String]) -> Vec<Deed> {
    let mut desk = Desk::new(bank, &bank.office, number);
    let mut lines = lines.iter();
    let mut deeds = Vec::new();
    while let Some(begins) = lines.next() {
        let token: CommitToken = begins.strip_prefix("begins ").unwrap().parse().unwrap();
        let end = match lines.next().map(|line| line.as_str()) {
            Some("acked") => End::Acked,
            Some(refused) => End::Refused(refused.to_owned()),
            None => End::InDoubt(Some(resolve::<C>(&bank.office, token))),
        };
        deeds.push(Deed {
            order: desk.next_order(),
            end,
            // One process's clock is of no use to another.
            held: None,
            deadlocks: 0,
        });
    }
    deeds
}

/// Starts processes, two at a time, and kills them.
fn killings<C: Teller>(backend: &str, url: &str) -> Day {
    let bank = Bank::<C>::at(url);
    let (mut deeds, mut killed) = (Vec::new(), 0);
    storm(|| {
        let players = [killed, killed + 1]
            .map(|number| (number, Player::start("work", backend, &bank, number)));
        thread::sleep(Duration::from_millis(rand::rng().random_range(50..400)));
        for (number, player) in players {
            let lines = player.kill();
            deeds.extend(deeds_of(&bank, number, &lines));
            killed += 1;
        }
    });
    Day::closed(&bank, deeds, killed)
}

/// Whether nobody holds the purse.
macro_rules! is_free {
    ($db:ident) => {{
        let lock = RowLock::for_update().no_wait();
        let result = lock.with(
            &mut $db.connect(),
            purses::table.find(1),
            |_, _: Locked<Purse>| Ok::<_, LockError>(()),
        );
        match result {
            Ok(()) => true,
            Err(LockError::Busy { .. }) => false,
            Err(other) => panic!("{other:?}"),
        }
    }};
}

laws! {
    [postgres, mysql] fn killed_processes_lose_nothing_that_they_were_told(db) {
        let _turn = turn();
        let day = killings::<Conn>(Db::BACKEND, &db.url());
        day.assert_right("client processes killed");
    }

    /// Here the process is the server, too.
    [sqlite] fn killed_processes_lose_nothing_and_leave_a_sound_file(db) {
        let _turn = turn();
        let day = killings::<Conn>(Db::BACKEND, &db.url());
        let check = sql::<Text>("PRAGMA integrity_check").get_result::<String>(&mut db.connect());
        assert_eq!(check.unwrap(), "ok");
        day.assert_right("client processes killed");
    }

    [postgres, mysql, sqlite] fn row_of_a_killed_holder_is_free_within_a_second(db) {
        let bank = Bank::<Conn>::at(&db.url());
        let holder = Player::start("hold", Db::BACKEND, &bank, 0);
        holder.says("holds");
        assert!(!is_free!(db));
        holder.kill();
        let killed = Instant::now();
        wait_until("it is free", Duration::from_millis(5), || is_free!(db));
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    }

    /// Nothing ends a transaction whose holder is only slow, unless a limit was asked for.
    [postgres, mysql, sqlite] fn frozen_holder_keeps_the_row_and_commits_once_it_goes_on(db) {
        let bank = Bank::<Conn>::at(&db.url());
        let mut holder = Player::start("hold", Db::BACKEND, &bank, 0);
        holder.says("holds");
        holder.freeze();
        writeln!(holder.stdin).unwrap();
        assert!(!is_free!(db));
        holder.thaw();
        holder.says("committed");
        wait_until("it is free", Duration::from_millis(5), || is_free!(db));
        holder.kill();
    }
}
