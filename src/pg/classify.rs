//! What PostgreSQL's errors mean.
//!
//! Diesel keeps the message and throws the SQLSTATE away, but for a few kinds of its own
//! (`diesel::pg::connection::result`). What the messages mean stands in `messages.rs`.

use diesel::pg::Pg;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind};

use super::messages;
use crate::backend::{Cause, ErrorBackend, Messages, Translations};

impl ErrorBackend for Pg {
    const ENGLISH: Messages = messages::ENGLISH;
    const TRANSLATIONS: Translations = messages::TRANSLATIONS;

    /// 40001 has a kind of its own. A deadlock (40P01) is known by the form of its details, which
    /// is the same in every language.
    fn classify_untranslated(
        kind: &DatabaseErrorKind,
        info: &dyn DatabaseErrorInformation,
    ) -> Option<Cause> {
        match kind {
            DatabaseErrorKind::SerializationFailure => Some(Cause::SerializationFailure),
            // The hint ("See server log for query details.") keeps out errors that quote a row in
            // their details: those have none.
            DatabaseErrorKind::Unknown if info.hint().is_some() && is_cycle(info.details()?) => {
                Some(Cause::Deadlock)
            }
            _ => None,
        }
    }
}

/// Names of lock modes (`lock.c`), which the server does not translate.
const LOCK_MODES: [&str; 8] = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// Whether these are the details of a deadlock (`DeadLockReport` in `deadlock.c`).
///
/// Each line is "Process 1 waits for ShareLock on transaction 7; blocked by process 2.", or a
/// translation that keeps the name of the lock mode, the waiting process as the first number and
/// the blocking one as the last. Each line's blocker is the waiter of the next one, the last line's
/// that of the first. The word `ShareLock` alone may as well be a user's own value.
fn is_cycle(details: &str) -> bool {
    let waits: Option<Vec<_>> = details.lines().map(waiter_and_blocker).collect();
    let Some(waits) = waits.filter(|waits| waits.len() > 1) else {
        return false;
    };
    let next = waits.iter().cycle().skip(1);
    waits
        .iter()
        .zip(next)
        .all(|((_, blocker), (waiter, _))| blocker == waiter)
}

fn waiter_and_blocker(line: &str) -> Option<(u64, u64)> {
    let words = || line.split(|c: char| !c.is_ascii_alphanumeric());
    words().find(|word| LOCK_MODES.contains(word))?;
    let mut numbers = words().filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next_back()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the catalogues of PostgreSQL 15, one for each order and punctuation.
    const TRANSLATED: [&str; 7] = [
        "Process 11 waits for ShareLock on transaction 7; blocked by process 22.\n\
         Process 22 waits for ShareLock on transaction 8; blocked by process 11.",
        "Prozess 11 wartet auf ShareLock-Sperre auf Transaktion 7; blockiert von Prozess 22.\n\
         Prozess 22 wartet auf ShareLock-Sperre auf Transaktion 8; blockiert von Prozess 11.",
        "プロセス 11 は ShareLock を トランザクション 7 で待機していましたが、プロセス 22 でブロックされました\n\
         プロセス 22 は ShareLock を トランザクション 8 で待機していましたが、プロセス 11 でブロックされました",
        "11 프로세스가 ShareLock 상태로 지연되고 있음(해당 작업: 트랜잭션 7); 22 프로세스에 의해 블록킹되었음\n\
         22 프로세스가 ShareLock 상태로 지연되고 있음(해당 작업: 트랜잭션 8); 11 프로세스에 의해 블록킹되었음",
        "Процесс 11 ожидает в режиме ShareLock блокировку \"транзакция 7\"; \
         заблокирован процессом 22.\n\
         Процесс 22 ожидает в режиме ShareLock блокировку \"транзакция 8\"; \
         заблокирован процессом 11.",
        "进程 11 正在等待 事务 7 上的 ShareLock；被进程 22 阻塞。\n\
         进程 22 正在等待 事务 8 上的 ShareLock；被进程 11 阻塞。",
        "Process 1 waits for ExclusiveLock on tuple (0,1) of relation 5 of database 6; \
         blocked by process 2.\n\
         Process 2 waits for AccessExclusiveLock on relation 5 of database 6; \
         blocked by process 3.\n\
         Process 3 waits for ShareLock on advisory lock [5,0,1,1]; blocked by process 1.",
    ];

    #[test]
    fn details_of_a_deadlock_are_a_cycle_in_every_language() {
        for details in TRANSLATED {
            assert!(is_cycle(details), "{details}");
        }
    }

    #[test]
    fn value_with_the_name_of_a_lock_mode_is_no_cycle() {
        for details in [
            "Token \"ShareLock\" is invalid.",
            "Failing row contains (7, Mr ShareLock, 1000).",
            "Failing row contains (7, ShareLock, 7).",
            "Failing row contains (7, ShareLock 1\n2 ShareLock 3).",
            "Process 11 waits for ShareLock on transaction 7; blocked by process 22.",
            "Process 11 waits for ShareLock on transaction 7; blocked by process 22.\n\
             Process 33 waits for ShareLock on transaction 8; blocked by process 11.",
            "Process 11 waits for a lock on transaction 7; blocked by process 22.\n\
             Process 22 waits for a lock on transaction 8; blocked by process 11.",
            "",
            "ShareLock\nShareLock",
        ] {
            assert!(!is_cycle(details), "{details}");
        }
    }
}
