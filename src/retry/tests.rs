//! The pauses, the limits and the causes, in no time.

use std::sync::Mutex;

use diesel::result::Error as DieselError;

use super::*;

fn deadlock() -> LockError {
    LockError::Deadlock {
        source: DieselError::RollbackTransaction.into(),
    }
}

/// A policy that pauses in no time, and the pauses that it made.
fn recorded(policy: Retry) -> (Retry, Arc<Mutex<Vec<Duration>>>) {
    let pauses = Arc::<Mutex<Vec<Duration>>>::default();
    let record = Arc::clone(&pauses);
    let policy = policy.sleeper(move |pause| record.lock().unwrap().push(pause));
    (policy, pauses)
}

fn run(policy: &Retry, results: Vec<Result<u32, LockError>>) -> Result<u32, LockError> {
    let mut results = results.into_iter();
    policy.run(
        |_| {
            results
                .next()
                .expect("an attempt too many")
                .map_err(Failure::Own)
        },
        LockError::retry_cause,
        LockError::into_lock_error,
    )
}

#[test]
fn pauses_double_and_carry_a_random_part_of_up_to_their_length() {
    let (policy, pauses) = recorded(Retry::new().attempts(9).jitter_seed(7));
    let result = run(&policy, (0..9).map(|_| Err(deadlock())).collect());
    assert!(matches!(
        result,
        Err(LockError::RetriesExhausted {
            attempts: 9,
            first: RetryCause::Deadlock,
            ..
        })
    ));
    let pauses = pauses.lock().unwrap();
    assert_eq!(pauses.len(), 8);
    for (at, pause) in pauses.iter().enumerate() {
        let base = Duration::from_millis(10 * (1 << at)).min(Duration::from_secs(1));
        assert!((base..=2 * base).contains(pause), "{at}: {pause:?}");
    }
}

#[test]
fn seeded_pauses_are_the_same_in_every_run() {
    let pauses = |seed| {
        let (policy, pauses) = recorded(Retry::new().jitter_seed(seed));
        let _ = run(&policy, (0..5).map(|_| Err(deadlock())).collect());
        let pauses = pauses.lock().unwrap().clone();
        pauses
    };
    assert_eq!(pauses(1), pauses(1));
    assert_ne!(pauses(1), pauses(2));
}

#[test]
fn only_what_is_safe_is_tried_again() {
    let source = || Arc::new(DieselError::RollbackTransaction);
    for final_error in [
        LockError::CommitUnknown { source: source() },
        LockError::ConnectionLost { source: source() },
        LockError::Escaped { source: None },
        LockError::Aborted { source: None },
        LockError::NotFound { key: None },
        LockError::Timeout {
            source: source(),
            blocker: None,
        },
        LockError::Busy { source: source() },
    ] {
        let variant = std::mem::discriminant(&final_error);
        let error = run(&Retry::new(), vec![Err(final_error)]).unwrap_err();
        assert_eq!(std::mem::discriminant(&error), variant);
    }
}

#[test]
fn lock_timeouts_are_tried_again_on_demand() {
    let (policy, _) = recorded(Retry::new().lock_timeouts());
    let source = Arc::new(DieselError::RollbackTransaction);
    assert_eq!(
        run(
            &policy,
            vec![
                Err(LockError::Timeout {
                    source,
                    blocker: None
                }),
                Ok(3)
            ]
        )
        .unwrap(),
        3
    );
}

#[test]
fn no_pause_ends_behind_the_deadline() {
    let (policy, pauses) = recorded(Retry::new().deadline(Duration::from_millis(5)));
    let error = run(&policy, vec![Err(deadlock())]).unwrap_err();
    assert!(
        matches!(error, LockError::RetriesExhausted { attempts: 1, .. }),
        "{error:?}"
    );
    assert!(pauses.lock().unwrap().is_empty());
}

#[test]
fn hook_hears_of_each_failed_attempt_but_the_last() {
    let heard = Arc::<Mutex<Vec<u32>>>::default();
    let hear = Arc::clone(&heard);
    let (policy, _) = recorded(Retry::new().attempts(3));
    let policy = policy.on_retry(move |failed| hear.lock().unwrap().push(failed.number));
    let _ = run(&policy, (0..3).map(|_| Err(deadlock())).collect());
    assert_eq!(*heard.lock().unwrap(), [1, 2]);
}
