//! [`RowMisses`]: which rows were missed lately, and are better locked first.
//!
//! A conditional `UPDATE` that misses has cost round trips for nothing. Where other sessions write
//! the row all the time, one that only tries again starves. So a row that was missed is locked
//! first, for a number of calls that doubles with each further miss; then it is tried once more.
//!
//! The memory is a table of fixed size, without a lock: one for the whole process, and one of each
//! queue. Rows that share a place share their misses, which costs round trips and nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::played;

/// Not more than this doublings: a row is tried at least once in 64 calls. So a miss costs little,
/// and a row that is no longer contended is found soon.
const MOST: u32 = 6;

/// How many misses, in the upper half, and how many calls are to lock first, in the lower one.
pub(crate) type Misses<const N: usize> = [AtomicU32; N];

static ROWS: Misses<16_384> = [const { AtomicU32::new(0) }; 16_384];

/// Tables whose rows have no stamps.
static TABLES: [AtomicBool; 256] = [const { AtomicBool::new(false) }; 256];

/// What is known of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowMisses<'r> {
    row: &'r AtomicU32,
    table: &'r AtomicBool,
}

impl<'r> RowMisses<'r> {
    /// Of the row of the model `M` with this key, in the memory of the process.
    pub(crate) fn of<M, K: Hash>(key: &K) -> Self {
        Self::among::<M, K>(key, &ROWS)
    }

    /// The same in another memory.
    pub(crate) fn among<M, K: Hash>(key: &K, rows: &'r [AtomicU32]) -> Self {
        Self::at(std::any::type_name::<M>(), key, rows, &TABLES)
    }

    fn at(table: &str, key: &impl Hash, rows: &'r [AtomicU32], tables: &'r [AtomicBool]) -> Self {
        let mut hasher = DefaultHasher::new();
        table.hash(&mut hasher);
        let table = &tables[place(&hasher, tables.len())];
        key.hash(&mut hasher);
        let row = &rows[place(&hasher, rows.len())];
        Self { row, table }
    }

    /// Whether this call is to lock the row first. Each call asks once.
    pub(crate) fn lock_first(self) -> bool {
        if self.table.load(Relaxed) {
            return true;
        }
        // The race prover compares runs, so no run may depend on the misses of an earlier one.
        if played::is_player() {
            return false;
        }
        // Relaxed, here and below: the number decides how a row is written, never whether that is
        // right.
        let less = |known: u32| (known & 0xffff > 0).then(|| known - 1);
        self.row.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    /// Another session has written the row since it was read.
    pub(crate) fn missed(self) {
        if played::is_player() {
            return;
        }
        let more = |known: u32| {
            let misses = ((known >> 16) + 1).min(MOST);
            Some(misses << 16 | 1 << misses)
        };
        let _ = self.row.fetch_update(Relaxed, Relaxed, more);
    }

    /// The row was still what was read.
    pub(crate) fn hit(self) {
        let fewer = |known: u32| (known > 0).then(|| (known >> 16).saturating_sub(1) << 16);
        let _ = self.row.fetch_update(Relaxed, Relaxed, fewer);
    }

    /// The rows of the table can't be read with a stamp: it is a view or a foreign table, or the
    /// server has no stamps.
    pub(crate) fn table_has_no_stamps(self) {
        self.table.store(true, Relaxed);
    }
}

fn place(hasher: &DefaultHasher, places: usize) -> usize {
    // The remainder is smaller than the number of places.
    usize::try_from(hasher.finish() % places as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> RowMisses<'static> {
        let rows = Box::leak(Box::new([const { AtomicU32::new(0) }; 4]));
        let tables = Box::leak(Box::new([const { AtomicBool::new(false) }; 4]));
        RowMisses::at("accounts", &1, rows, tables)
    }

    fn calls_that_lock_first(row: RowMisses<'_>) -> usize {
        std::iter::repeat_with(|| row.lock_first())
            .take_while(|first| *first)
            .count()
    }

    #[test]
    fn a_row_that_was_never_missed_is_tried() {
        assert!(!row().lock_first());
    }

    #[test]
    fn each_further_miss_doubles_the_calls_that_lock_first() {
        let row = row();
        for calls in [2, 4, 8, 16, 32, 64, 64] {
            row.missed();
            assert_eq!(calls_that_lock_first(row), calls);
        }
    }

    #[test]
    fn each_hit_takes_one_miss_back() {
        let row = row();
        row.missed();
        row.missed();
        assert_eq!(calls_that_lock_first(row), 4);
        row.hit();
        row.missed();
        assert_eq!(calls_that_lock_first(row), 4);
        row.hit();
        row.hit();
        row.hit();
        row.missed();
        assert_eq!(calls_that_lock_first(row), 2);
    }

    #[test]
    fn table_without_stamps_is_always_locked_first() {
        let row = row();
        row.table_has_no_stamps();
        assert!((0..2000).all(|_| row.lock_first()));
    }
}
