//! A copy of a server's data while it runs, for a standby to begin with.
//!
//! By hand and not by `pg_basebackup`: not every build comes with one, and Debian's refuses servers
//! that are newer than itself.

use std::fs;

use anyhow::{ensure, Context, Result};

use super::client;
use crate::home::Home;
use crate::process::output;

/// What the standby is to have of its own, or gets from the primary as it goes.
const NOT_COPIED: [&str; 4] = [
    "/postmaster.*",
    "/pg_wal/*",
    "/pg_replslot/*",
    "/pg_stat_tmp/*",
];

/// Makes the data of a standby from those of the server at that URL.
pub(super) fn copy(url: &str, from: &Home, to: &Home) -> Result<()> {
    let data = to.path().join("data");
    let [label, copied] = ["backup_label", "standby.signal"].map(|name| data.join(name));
    // Files that are gone meanwhile, for which it returns 24, are none of the backup's.
    let rsync = format!(
        "rsync --archive {} {}/data/ {} || test $? = 24 && touch {}",
        NOT_COPIED
            .map(|name| format!("--exclude='{name}'"))
            .join(" "),
        from.path().display(),
        data.display(),
        copied.display()
    );
    // All in one session, or else the backup would be given up.
    let mut session = client(url);
    session
        .arg("--command=select pg_backup_start('standby', fast => true)")
        .arg(format!("--command=\\! {rsync}"))
        .arg(format!("--command=\\o {}", label.display()))
        .arg("--command=select labelfile from pg_backup_stop(false)");
    output(&mut session).context("the backup")?;
    ensure!(copied.exists(), "rsync has failed, or isn't there");
    ensure!(fs::metadata(&label)?.len() > 0, "the backup has no label");
    to.own(&label)?;
    Ok(to.own(&copied)?)
}
