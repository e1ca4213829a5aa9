//! The peers of the contention benchmark.

use anyhow::Result;

/// None yet.
pub(crate) fn install() -> Result<Vec<String>> {
    Ok(Vec::new())
}
