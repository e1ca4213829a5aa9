//! [`Call`] and [`Attempt`] where nobody listens: nothing, in no time and no space.

use std::marker::PhantomData;

use crate::error::{LockError, RetryCause};
use crate::retry::Failure;

pub(crate) struct Call;

pub(crate) struct Attempt<'c>(PhantomData<&'c Call>);

const _: () = assert!(size_of::<Call>() == 0 && size_of::<Attempt<'_>>() == 0);

impl Call {
    pub(crate) const fn begin(
        _system: &'static str,
        _strength: &'static str,
        _table: fn() -> Option<&'static str>,
    ) -> Self {
        Self
    }

    pub(crate) const fn untold() -> Self {
        Self
    }

    #[allow(clippy::unused_self, reason = "as where somebody listens")]
    pub(crate) const fn attempt(&self) -> Attempt<'_> {
        Attempt(PhantomData)
    }

    pub(crate) const fn failed(&self, _: &LockError) {}

    pub(crate) const fn closure_failed(&self, _: &LockError) {}

    pub(crate) const fn failed_by(&self, _: RetryCause) {}
}

impl Attempt<'_> {
    pub(crate) const fn locked(&mut self) {}

    pub(crate) fn end<R, E>(self, _: &Result<R, Failure<E>>) {}
}
