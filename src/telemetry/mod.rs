#![doc = include_str!("guide.md")]

#[cfg(any(feature = "metrics", feature = "tracing"))]
mod call;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod ending;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod listener;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(not(any(feature = "metrics", feature = "tracing")))]
mod off;
#[cfg(feature = "tracing")]
mod span;
mod table;

// Which features are on is asked here, and nowhere else.

#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use self::call::{Attempt, Call};
#[cfg(not(any(feature = "metrics", feature = "tracing")))]
pub(crate) use self::off::{Attempt, Call};
pub(crate) use self::table::table_in;

#[cfg(all(feature = "tracing", not(feature = "metrics")))]
use self::listener::Nobody as Meter;
#[cfg(feature = "metrics")]
use self::meter::Meter;

#[cfg(all(feature = "metrics", not(feature = "tracing")))]
use self::listener::Nobody as Span;
#[cfg(feature = "tracing")]
use self::span::Span;

#[cfg(feature = "metrics")]
pub use self::meter::describe;
#[cfg(feature = "tracing")]
pub use self::span::warn_when_held_for;
