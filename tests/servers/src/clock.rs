//! A process's clock that a test sets, while that of the machine goes on as it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::unpacked::unpack;

/// The clock of one program. It is the library faketime, between the program and the C library.
pub struct Clock {
    library: PathBuf,
    /// What the program's clock is ahead of the machine's; it is read at every look at the clock.
    offset: PathBuf,
}

impl Clock {
    /// In a folder of its own in that one.
    pub fn new(folder: &Path) -> Result<Self> {
        let folder = folder.join("faketime");
        unpack("libfaketime", &folder)?;
        let clock = Self {
            library: library(folder.join("usr/lib"))?,
            offset: folder.join("offset"),
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets the clock to so many seconds ahead of the machine's clock, or behind it. Every look at
    /// the clock that begins after this has returned sees it, on every thread of the program.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // The whole file at once: the program may look at any time.
        let new = self.offset.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(fs::rename(new, &self.offset)?)
    }

    /// The variables that let a program look at this clock.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // Or waits would last as long as the clock jumps.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// The same as words before a program. Not variables of whoever starts it: what the library
    /// sets up before an account changes is out of reach afterwards.
    pub(crate) fn before(&self) -> Vec<String> {
        let variables = self.variables();
        let variables = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        ["env".to_owned()].into_iter().chain(variables).collect()
    }
}

/// In the one folder there, which is named after the machine's kind. It is the library for programs
/// with threads. In the other, a thread that still reads the file's last state can overwrite, for
/// all threads, what another has read after it, and the file's new state is then taken for known.
fn library(folder: PathBuf) -> Result<PathBuf> {
    let machine = fs::read_dir(folder)?.next().context("an empty package")??;
    Ok(machine.path().join("faketime/libfaketimeMT.so.1"))
}

/// The library leaves a file of shared memory behind for each process that was ended by a signal.
/// Each is named after its process; those of others that still run are not ours to remove.
impl Drop for Clock {
    fn drop(&mut self) {
        let Ok(files) = fs::read_dir("/dev/shm") else {
            return;
        };
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let pid = ["faketime_shm_", "sem.faketime_sem_"]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}
