//! [`Held`]: the rows whose turns this thread has.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::key::RowKey;

thread_local! {
    /// Queues, by their addresses, and keys.
    static HELD: RefCell<Vec<(usize, RowKey)>> = const { RefCell::new(Vec::new()) };
}

/// This thread has a turn for a row, from its call to its end. A call in between, for the same row
/// of the same queue and on this thread, would wait for itself.
pub(super) struct Held {
    // The entry is this thread's.
    not_send: PhantomData<*const ()>,
}

impl Held {
    /// Whether this thread has a turn for the row.
    pub(super) fn is_held(queue: usize, key: &RowKey) -> bool {
        // While the thread ends, the destructor of another local may call.
        let held = HELD.try_with(|held| {
            let held = held.borrow();
            held.iter().any(|(of, row)| *of == queue && row == key)
        });
        held.unwrap_or(false)
    }

    pub(super) fn new(queue: usize, key: RowKey) -> Self {
        let _ = HELD.try_with(|held| held.borrow_mut().push((queue, key)));
        Self {
            not_send: PhantomData,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Calls nest, so it is the last one.
        let _ = HELD.try_with(|held| held.borrow_mut().pop());
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn row_is_held_by_its_thread_in_its_queue_until_the_end() {
        let (one, two) = (RowKey::new(1), RowKey::new(2));
        let held = Held::new(7, one.clone());
        assert!(Held::is_held(7, &one));
        assert!(!Held::is_held(7, &two));
        assert!(!Held::is_held(8, &one));
        let inner = Held::new(7, two.clone());
        assert!(Held::is_held(7, &two));
        let elsewhere = one.clone();
        let on_another_thread = thread::spawn(move || Held::is_held(7, &elsewhere));
        assert!(!on_another_thread.join().unwrap());
        drop(inner);
        assert!(!Held::is_held(7, &two));
        assert!(Held::is_held(7, &one));
        drop(held);
        assert!(!Held::is_held(7, &one));
    }
}
