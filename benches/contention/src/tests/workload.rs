//! Which thread wants which row.

use std::collections::HashMap;

use crate::strategy::Order;
use crate::workload::{Picker, Workload, CROWD};

#[test]
fn each_row_of_a_crowd_has_four_threads() {
    let mut threads = HashMap::new();
    for thread in 0..CROWD {
        let mut picker = Picker::beside(Workload::Crowd, thread);
        let order = picker.order();
        assert_eq!(picker.order(), order, "a hot thread keeps to its row");
        let Order::Deposit(row) = order else {
            panic!("{order:?}");
        };
        *threads.entry(row).or_insert(0) += 1;
    }
    assert_eq!(threads, (1..=24).map(|row| (row, 4)).collect());
}

#[test]
fn a_cold_thread_wants_no_hot_row() {
    for (workload, hot) in [(Workload::Cold, 1), (Workload::Crowd, 24)] {
        let mut picker = Picker::new(workload, 30, 0);
        for _ in 0..1_000 {
            let order = picker.order();
            assert!(
                matches!(order, Order::Deposit(row) if row > hot && row <= 30),
                "{order:?}"
            );
        }
    }
}
