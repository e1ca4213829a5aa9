//! The benchmark's own arithmetic.

mod check;
mod estimate;
mod summary;
