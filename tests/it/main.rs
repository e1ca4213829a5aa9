mod support;

mod fresh;
mod escaped;
mod panics;
mod swallowed;
