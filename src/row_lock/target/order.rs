//! Which row belongs to which key of those that a call asked for.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use crate::error::LockError;
use crate::sql::key::KeyedBy;

/// How many keys are asked for again in one statement, which binds each of them twice.
const AGAIN: usize = 1_000;

pub(super) fn refuse_duplicates<K: Eq + Hash + Debug>(keys: &[K]) -> Result<(), LockError> {
    let mut seen = HashSet::with_capacity(keys.len());
    match keys.iter().find(|key| !seen.insert(*key)) {
        Some(key) => Err(duplicate(key)),
        None => Ok(()),
    }
}

/// The rows in the order of the keys; the database returned them in an order of its own.
///
/// A row with a key that is none of these by Rust's `==` is a wrong one, or the database writes the
/// key in another way: padded, rounded to microseconds, in other letters. Only the database can
/// tell, so `again` asks it for the rows of some keys, in the order of the keys, by a statement of
/// its own: behind a pooler, the first one may have been another client's.
pub(super) fn in_order_of<K, M>(
    keys: &[K],
    rows: Vec<M>,
    mut again: impl FnMut(&[K]) -> Result<Vec<M>, LockError>,
) -> Result<Vec<M>, LockError>
where
    K: Clone + Eq + Hash + Debug,
    M: KeyedBy<K>,
{
    let mut left = by_key(rows)?;
    let mut found: Vec<_> = keys.iter().map(|key| left.remove(key)).collect();
    if !left.is_empty() {
        let missing = found.iter().zip(keys).filter(|(row, _)| row.is_none());
        let missing: Vec<K> = missing.map(|(_, key)| key.clone()).collect();
        let written = written_otherwise(&missing, &left, &mut again)?;
        let places = found.iter_mut().filter(|row| row.is_none());
        for (place, key) in places.zip(&written) {
            *place = left.remove(key);
        }
    }
    if let Some(key) = left.into_keys().next() {
        return Err(wrong(&key));
    }
    let found = found.into_iter().zip(keys);
    found
        .map(|(row, key)| row.ok_or_else(|| not_found(key)))
        .collect()
}

/// Tables can inherit from others, and a primary key is one of a single table.
fn by_key<K, M>(rows: Vec<M>) -> Result<HashMap<K, M>, LockError>
where
    K: Eq + Hash + Debug,
    M: KeyedBy<K>,
{
    let mut by_key = HashMap::with_capacity(rows.len());
    for row in rows {
        let key = row.key();
        if by_key.contains_key(&key) {
            return Err(LockError::AmbiguousKey {
                key: format!("{key:?}"),
            });
        }
        by_key.insert(key, row);
    }
    Ok(by_key)
}

/// How the database writes these keys, all of which are those of rows in `left`.
fn written_otherwise<K, M>(
    missing: &[K],
    left: &HashMap<K, M>,
    again: &mut impl FnMut(&[K]) -> Result<Vec<M>, LockError>,
) -> Result<Vec<K>, LockError>
where
    K: Clone + Eq + Hash + Debug,
    M: KeyedBy<K>,
{
    let mut written = Vec::with_capacity(missing.len());
    for keys in missing.chunks(AGAIN) {
        let rows = again(keys)?;
        written.extend(rows.iter().map(M::key));
    }
    let distinct: HashSet<_> = written.iter().collect();
    if distinct.len() == missing.len() && distinct.iter().all(|key| left.contains_key(*key)) {
        return Ok(written);
    }
    if let Some(key) = left.keys().find(|key| !distinct.contains(key)) {
        return Err(wrong(key));
    }
    // A row for each that is left, and fewer than keys: one key has none, or two have the same.
    let mut seen = HashSet::new();
    for key in missing {
        match again(std::slice::from_ref(key))?.first() {
            None => return Err(not_found(key)),
            Some(row) if !seen.insert(row.key()) => return Err(duplicate(key)),
            Some(row) if !left.contains_key(&row.key()) => return Err(duplicate(key)),
            Some(_) => {}
        }
    }
    Err(missing
        .first()
        .map_or(LockError::NotFound { key: None }, not_found))
}

fn wrong(key: &impl Debug) -> LockError {
    LockError::WrongRow {
        key: format!("{key:?}"),
    }
}

fn not_found(key: &impl Debug) -> LockError {
    LockError::NotFound {
        key: Some(format!("{key:?}")),
    }
}

fn duplicate(key: &impl Debug) -> LockError {
    LockError::DuplicateKey {
        key: format!("{key:?}"),
    }
}
