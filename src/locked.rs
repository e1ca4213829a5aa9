//! [`Locked`]: the witness that a row is locked.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A model whose row is locked, as the locking statement itself returned it.
///
/// It derefs to the model. The brand `'tx` is a lifetime that exists only inside the closure of a
/// locked call, so a `Locked` can't be carried out of it: a function that takes
/// `&mut Locked<'_, Account>` can't be called without the lock. [`into_inner`](Self::into_inner)
/// gives the plain model, which may go anywhere.
///
/// # What it proves
///
/// That the open transaction has locked the row *that it was made for*: the row is locked as long
/// as the `Locked` exists, and safe code can't make a `Locked` without the lock. It does not prove
/// that the model in it is still that row. The fields are there to be changed, so `DerefMut` gives
/// `&mut M`, and no type allows `account.balance += 1` but not `*account = other` or
/// `std::mem::swap`. Code that puts another model or another key into a `Locked` can save a row
/// that was never locked. Code that has to be sure compares the key, or locks the row again, which
/// takes a savepoint and one statement.
///
/// The technique, a rank-2 closure that brands what it lends, is that of Launchbury and Peyton
/// Jones, *Lazy Functional State Threads* (1994).
///
/// # Example
///
/// ```
/// # include!("doctest_setup.rs");
/// use diesel_row_lock::{with_row_lock, LockError, Locked};
///
/// // Nobody can call this without holding the lock.
/// fn charge_fee(account: &mut Locked<'_, Account>) {
///     account.balance -= 1;
/// }
///
/// # fn main() -> Result<(), LockError> {
/// # let conn = &mut establish_connection();
/// let ada = accounts::table.find(1);
/// let balance = with_row_lock(conn, ada, |conn, mut account: Locked<Account>| {
///     charge_fee(&mut account);
///     let saved: Account = account.save_changes(conn)?;
///     Ok::<_, LockError>(saved.balance)
/// })?;
/// assert_eq!(balance, 999);
/// # Ok(())
/// # }
/// ```
///
/// It does not outlive the closure:
///
/// ```compile_fail
/// # include!("doctest_setup.rs");
/// use diesel_row_lock::{with_row_lock, LockError, Locked};
///
/// # fn main() {
/// # let conn = &mut establish_connection();
/// let escaped = with_row_lock(conn, accounts::table.find(1), |_, account: Locked<Account>| {
///     Ok::<_, LockError>(account)
/// });
/// # }
/// ```
pub struct Locked<'tx, M> {
    model: M,
    // Invariant, so that no two brands can be made to agree.
    brand: PhantomData<fn(&'tx ()) -> &'tx ()>,
}

impl<M> Locked<'_, M> {
    /// Only for a model that a locking statement of the open transaction has returned.
    pub(crate) fn new(model: M) -> Self {
        Self {
            model,
            brand: PhantomData,
        }
    }

    /// The plain model, without the proof that its row is locked.
    pub fn into_inner(self) -> M {
        self.model
    }
}

impl<'tx, M> Locked<'tx, Vec<M>> {
    /// Each row as a witness of its own.
    pub fn each(self) -> Vec<Locked<'tx, M>> {
        self.model.into_iter().map(Locked::new).collect()
    }
}

impl<M> Deref for Locked<'_, M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.model
    }
}

impl<M> DerefMut for Locked<'_, M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.model
    }
}

impl<M: fmt::Debug> fmt::Debug for Locked<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locked").field(&self.model).finish()
    }
}
