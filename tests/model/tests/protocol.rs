//! The laws of the protocol, and the mistakes that break them.
//!
//! Each mistake is planted into a protocol that keeps all promises without it, by one of the laws.
//! `--show-output` prints how a mistake breaks its promise.

use model::client::{Kind, Mistake, Rules};
use model::promises::{FIRM, NOT_APPLIED, OK, SERIAL};
use model::server::Change;
use model::Protocol;
use stateright::{Checker, HasDiscoveries, Model};

/// One cut connection, and one restart that may lose commits.
fn world(clients: [(Kind, &[Change]); 2]) -> Protocol {
    Protocol {
        clients: clients.map(|(kind, it)| (kind, it.to_vec())).to_vec(),
        rules: Rules {
            resolve: true,
            mistake: None,
        },
        cuts: 1,
        restarts: 1,
        asynchronous: true,
    }
}

/// A deposit and a withdrawal each.
fn pair(first: Kind, second: Kind) -> Protocol {
    world([(first, &[1, -2]), (second, &[3, -4])])
}

/// A line that withdraws; the other client deposits.
fn withdrawals() -> Protocol {
    world([(Kind::Line, &[1, -2, -6]), (Kind::Lock, &[3])])
}

/// Two cut connections, and no restart.
fn cut_twice() -> Protocol {
    Protocol {
        cuts: 2,
        restarts: 0,
        ..durable(world([(Kind::UpdateRow, &[1]), (Kind::Line, &[3, -4])]))
    }
}

/// The same, where a restart loses no commit.
fn durable(mut protocol: Protocol) -> Protocol {
    protocol.asynchronous = false;
    protocol
}

fn unresolved(mut protocol: Protocol) -> Protocol {
    protocol.rules.resolve = false;
    protocol
}

/// Visits every state of the protocol.
fn keeps_its_promises(protocol: Protocol) {
    let checker = protocol.checker().spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Returns whether a state exists in which the mistake breaks the promise.
fn breaks(mistake: Mistake, promise: &'static str, mut world: Protocol) -> bool {
    world.rules.mistake = Some(mistake);
    let found = HasDiscoveries::AnyOf([promise].into());
    let checker = world.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(promise);
    println!("{:?}", path.clone().map(|path| path.into_actions()));
    path.is_some()
}

#[test]
fn two_lock_paths_keep_the_promises() {
    keeps_its_promises(pair(Kind::Lock, Kind::Lock));
}

#[test]
fn two_calls_of_update_row_keep_the_promises() {
    keeps_its_promises(pair(Kind::UpdateRow, Kind::UpdateRow));
}

#[test]
fn update_row_and_a_lock_path_keep_the_promises() {
    keeps_its_promises(pair(Kind::UpdateRow, Kind::Lock));
}

#[test]
fn a_line_and_a_lock_path_keep_the_promises() {
    keeps_its_promises(pair(Kind::Line, Kind::Lock));
}

#[test]
fn a_line_and_update_row_keep_the_promises() {
    keeps_its_promises(pair(Kind::Line, Kind::UpdateRow));
}

#[test]
fn two_lines_keep_the_promises() {
    keeps_its_promises(pair(Kind::Line, Kind::Line));
}

#[test]
fn a_batch_of_two_on_a_kept_row_keeps_the_promises() {
    keeps_its_promises(world([(Kind::Line, &[1, -2, 5]), (Kind::UpdateRow, &[-4])]));
}

#[test]
fn a_line_of_withdrawals_keeps_the_promises() {
    keeps_its_promises(withdrawals());
}

#[test]
fn a_second_lost_connection_leaves_the_call_in_doubt() {
    keeps_its_promises(cut_twice());
}

#[test]
fn unresolved_doubts_keep_the_promises() {
    keeps_its_promises(unresolved(pair(Kind::Line, Kind::UpdateRow)));
}

#[test]
fn a_synchronous_server_loses_no_acknowledged_change() {
    keeps_its_promises(durable(pair(Kind::Line, Kind::UpdateRow)));
}

#[test]
fn a_stamp_kept_over_a_reconnect_loses_an_update() {
    let mistake = Mistake::KeepsTheStampOverAReconnect;
    assert!(breaks(mistake, SERIAL, pair(Kind::Line, Kind::Lock)));
    // If no commit is lost, no id of a committed version is assigned twice.
    assert!(!breaks(
        mistake,
        SERIAL,
        durable(pair(Kind::Line, Kind::Lock))
    ));
}

#[test]
fn a_stamp_compared_by_value_after_a_failover_loses_an_update() {
    let mistake = Mistake::ComparesTheStampAfterAReconnect;
    assert!(breaks(mistake, SERIAL, pair(Kind::Line, Kind::Lock)));
}

#[test]
fn an_err_from_a_stale_row_is_false() {
    let mistake = Mistake::ReturnsAnErrFromAStaleRow;
    assert!(breaks(mistake, FIRM, pair(Kind::UpdateRow, Kind::Lock)));
    assert!(breaks(mistake, FIRM, withdrawals()));
}

#[test]
fn a_retry_after_a_lost_answer_applies_a_change_twice() {
    let mistake = Mistake::TriesALostAnswerAgain;
    assert!(breaks(mistake, SERIAL, pair(Kind::UpdateRow, Kind::Lock)));
    assert!(breaks(mistake, SERIAL, pair(Kind::Lock, Kind::Lock)));
}

#[test]
fn a_batch_answered_before_its_statement_is_a_false_ok() {
    let mistake = Mistake::AnswersABatchBeforeItsStatement;
    assert!(breaks(mistake, OK, pair(Kind::Line, Kind::Lock)));
}

#[test]
fn an_update_of_no_row_taken_for_success_is_a_false_ok() {
    let mistake = Mistake::TakesNoRowForSuccess;
    assert!(breaks(mistake, OK, pair(Kind::UpdateRow, Kind::Lock)));
}

#[test]
fn a_doubt_resolved_without_a_write_is_a_false_not_applied() {
    let mistake = Mistake::ResolvesWithoutAWrite;
    assert!(breaks(
        mistake,
        NOT_APPLIED,
        pair(Kind::UpdateRow, Kind::Lock)
    ));
}

#[test]
fn a_doubt_resolved_by_the_stamp_it_wrote_is_a_false_ok() {
    let mistake = Mistake::ResolvesByTheStampItWrote;
    let world = pair(Kind::Lock, Kind::Lock);
    assert!(breaks(mistake, OK, world.clone()));
    // A crash that loses no commit is enough: the id of a transaction that was open is assigned
    // again.
    assert!(breaks(mistake, OK, durable(world.clone())));
    let without_restart = Protocol {
        restarts: 0,
        ..durable(world)
    };
    assert!(!breaks(mistake, OK, without_restart));
}

#[test]
fn a_doubt_forgotten_at_a_second_loss_is_a_false_not_applied() {
    let mistake = Mistake::ForgetsTheFirstDoubt;
    assert!(breaks(mistake, NOT_APPLIED, cut_twice()));
}
