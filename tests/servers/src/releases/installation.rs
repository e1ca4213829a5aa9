//! Where the programs of a release are, and how they are run.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Result};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::unistd::Uid;

use super::{apt, Product, Release};
use crate::cache::cache;
use crate::home::Home;
use crate::unpacked::run;

/// A release that is unpacked.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    root: PathBuf,
}

impl Installation {
    /// Fetches it unless an earlier run has.
    pub(crate) fn of(release: &Release) -> Result<Self> {
        let name = format!(
            "{:?}-{}-{}",
            release.product, release.version, release.suite
        );
        let root = shelf()?.join(name.to_lowercase());
        once(&root, |work| {
            eprintln!(
                "fetching {:?} {} from Debian's suite {}",
                release.product, release.version, release.suite
            );
            let unpacked = work.join("root");
            fs::create_dir(&unpacked)?;
            // The account of a server must get there.
            fs::set_permissions(&unpacked, Permissions::from_mode(0o755))?;
            apt::unpack(release, work, &unpacked)?;
            if release.product == Product::Postgres {
                let programs = bin_of_postgres(release.version);
                patch(&unpacked.join(programs), &Machine::this()?, &root)?;
            }
            Ok(unpacked)
        })?;
        Ok(Self { root })
    }

    /// Something that is made of it once, for each account that uses it.
    pub(crate) fn made(
        &self,
        what: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let mut made = self.root.clone().into_os_string();
        made.push(format!(".{what}-{}", Uid::effective()));
        let made = PathBuf::from(made);
        once(&made, |work| {
            make(&work.join(what))?;
            Ok(work.join(what))
        })?;
        Ok(made)
    }

    /// A file or folder of it, such as `usr/share`.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// PostgreSQL's programs, which know where they are and so run by themselves.
    pub(crate) fn bin_of_postgres(&self, version: &str) -> PathBuf {
        self.path(&bin_of_postgres(version))
    }

    /// The folder of its libraries.
    pub(crate) fn libraries(&self) -> Result<PathBuf> {
        Ok(Machine::this()?.libraries(&self.root))
    }

    /// A program that is in its `usr/sbin`, started by its own loader: that of the machine's C
    /// library is too old for it.
    pub(crate) fn command(&self, home: &Home, program: &str, end: Signal) -> Result<Command> {
        let machine = Machine::this()?;
        let libraries = machine.libraries(&self.root);
        let mut command = home.command(libraries.join(machine.loader), end)?;
        let more = libraries.join("mysql/private");
        let path = format!("{}:{}", libraries.display(), more.display());
        command.args(["--library-path", &path]);
        command.arg(self.path("usr/sbin").join(program));
        Ok(command)
    }
}

fn bin_of_postgres(version: &str) -> String {
    format!("usr/lib/postgresql/{version}/bin")
}

/// initdb starts a server by itself, so a loader before its name would not do: the programs that
/// are used get the loader and the libraries written into them.
fn patch(programs: &Path, machine: &Machine, root: &Path) -> Result<()> {
    let libraries = machine.libraries(root);
    for program in ["initdb", "postgres"] {
        run(Command::new("patchelf")
            .arg("--set-interpreter")
            .arg(libraries.join(machine.loader))
            // As RPATH, which counts for the libraries' own libraries, too.
            .args(["--force-rpath", "--set-rpath"])
            .arg(&libraries)
            .arg(programs.join(program)))?;
    }
    Ok(())
}

/// Makes a file or folder unless it is there; `make` is given a folder to work in, and says where
/// in it the result is. Others who want it, too, wait.
fn once(place: &Path, make: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<()> {
    let beside = |extension: &str| {
        let mut path = place.as_os_str().to_owned();
        path.push(extension);
        PathBuf::from(path)
    };
    let lock = File::create(beside(".lock"))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    if place.exists() {
        return Ok(());
    }
    let work = beside(".new");
    // Of one that was killed.
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir(&work)?;
    let made = make(&work).and_then(|made| Ok(fs::rename(made, place)?));
    fs::remove_dir_all(&work)?;
    made
}

/// What Debian calls this kind of machine.
struct Machine {
    triplet: &'static str,
    loader: &'static str,
}

impl Machine {
    fn this() -> Result<Self> {
        let (triplet, loader) = match env::consts::ARCH {
            "x86_64" => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
            "aarch64" => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
            other => bail!("where is the loader of a Debian for {other}?"),
        };
        Ok(Self { triplet, loader })
    }

    fn libraries(&self, root: &Path) -> PathBuf {
        root.join("usr/lib").join(self.triplet)
    }
}

/// The folder of all that is unpacked: in the target folder if a server's account gets there, and
/// else where root keeps such things.
fn shelf() -> Result<PathBuf> {
    let shelf = cache("debian")?.canonicalize()?;
    // Only root starts servers under another account.
    if !Uid::effective().is_root() || is_open(&shelf) {
        return Ok(shelf);
    }
    let shelf = PathBuf::from("/var/cache/diesel-row-lock");
    fs::create_dir_all(&shelf)?;
    fs::set_permissions(&shelf, Permissions::from_mode(0o755))?;
    Ok(shelf)
}

/// Whether every account gets there.
fn is_open(folder: &Path) -> bool {
    folder.ancestors().all(|folder| {
        let metadata = fs::metadata(folder);
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_open_if_all_above_are() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a/b");
        fs::create_dir_all(&folder).unwrap();
        for path in [top.path(), &top.path().join("a"), &folder] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        assert!(is_open(&folder));
        fs::set_permissions(top.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!is_open(&folder));
    }
}
