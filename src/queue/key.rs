//! [`RowKey`]: a primary key of any type.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A primary key, whose type is known only to those who ask for it: the same queue takes `i32` and
/// `(String, i32)`, since only the model is part of the queue's type.
#[derive(Clone)]
pub(super) struct RowKey(Arc<dyn Key>);

trait Key: Any + Send + Sync {
    fn equals(&self, other: &dyn Any) -> bool;
    fn feed(&self, hasher: &mut dyn Hasher);
    fn as_any(&self) -> &dyn Any;
}

impl<K: Eq + Hash + Send + Sync + 'static> Key for K {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<K>() == Some(self)
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl RowKey {
    pub(super) fn new<K: Eq + Hash + Send + Sync + 'static>(key: K) -> Self {
        Self(Arc::new(key))
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals((*other.0).as_any())
    }
}

impl Eq for RowKey {}

impl Hash for RowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.feed(state);
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::DefaultHasher;

    use super::*;

    #[test]
    fn keys_are_equal_by_value_and_type() {
        let mut keys = HashSet::new();
        assert!(keys.insert(RowKey::new(1_i32)));
        assert!(!keys.insert(RowKey::new(1_i32)));
        assert!(keys.insert(RowKey::new(1_i64)));
        assert!(keys.insert(RowKey::new(("blue".to_owned(), 1_i32))));
        assert!(!keys.insert(RowKey::new(("blue".to_owned(), 1_i32))));
    }

    #[test]
    fn key_is_told_apart_without_its_hash_and_by_its_hash() {
        let (one, other) = (RowKey::new(1), RowKey::new(2));
        assert!(one != other);
        assert!(one == RowKey::new(1));
        let hash = |key: &RowKey| {
            let mut hasher = DefaultHasher::new();
            key.hash(&mut hasher);
            hasher.finish()
        };
        assert_ne!(hash(&one), hash(&other));
        assert_eq!(hash(&one), hash(&RowKey::new(1)));
        assert!(format!("{one:?}").starts_with("RowKey"));
    }
}
