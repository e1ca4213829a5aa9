//! What is fetched once.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

/// A folder in Cargo's target folder: this program is in `target/debug` or `target/debug/deps`.
pub fn cache(name: &str) -> Result<PathBuf> {
    let program = env::current_exe()?;
    let profile = program
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"));
    let target = profile.and_then(Path::parent).context("no target folder")?;
    let cache = target.join(name);
    fs::create_dir_all(&cache)?;
    Ok(cache)
}
