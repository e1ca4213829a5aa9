//! Where it was measured.

use std::fs;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    /// How many processes wanted to run when it began, on average over a minute.
    pub(crate) load: String,
    /// Seconds since 1970.
    pub(crate) time: u64,
    pub(crate) version: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let first_word = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
        Self {
            processor: value("/proc/cpuinfo", "model name"),
            cores: available_parallelism().map_or(1, usize::from),
            system: value("/etc/os-release", "PRETTY_NAME"),
            load: fs::read_to_string("/proc/loadavg").map_or_else(|_| "?".into(), first_word),
            time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// In one line.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{}, {} cores, {}, load {} before the run, diesel-row-lock {}",
            self.processor, self.cores, self.system, self.load, self.version
        )
    }
}

/// The value of a `key : value` or `key=value` line.
fn value(file: &str, key: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let value = line.map(|line| line.trim_matches([' ', '\t', ':', '=', '"']).to_owned());
    value.unwrap_or_else(|| "unknown".to_owned())
}
