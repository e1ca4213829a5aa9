//! The languages that a PostgreSQL can be asked to speak.
//!
//! A PostgreSQL takes a language only if the C library has a locale of it, of which a fresh Debian
//! has none; the translations themselves come with the server's package. To have a locale compiled
//! takes seconds, and all of them are 230 MB, but nothing of a locale is needed here except its
//! name: that is what the translations are found by. So each locale is a copy of Debian's `C.utf8`
//! under another name, where only the server that is started here looks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::releases::Installation;

/// Of every language in which PostgreSQL 15 to 18 come.
const LOCALES: [&str; 16] = [
    "de_DE", "es_ES", "fr_FR", "id_ID", "it_IT", "ja_JP", "ka_GE", "ko_KR", "pl_PL", "pt_BR",
    "ru_RU", "sv_SE", "tr_TR", "uk_UA", "zh_CN", "zh_TW",
];

/// The one category of a locale that `lc_messages` asks for.
const MESSAGES: &str = "LC_MESSAGES/SYS_LC_MESSAGES";

/// Lets a server that keeps its files in `home` speak them, for `SET lc_messages = 'de_DE.UTF-8'`.
/// Elsewhere than on Debian it speaks what the system lets it.
pub(super) fn offer(
    server: &mut Command,
    home: &Path,
    unpacked: Option<&Installation>,
) -> Result<()> {
    // A server that comes with a C library of its own wants the locales of that one.
    let locales = match unpacked {
        Some(installation) => installation.path("usr/lib/locale"),
        None => PathBuf::from("/usr/lib/locale"),
    };
    let Some(neutral) = neutral(&locales) else {
        return Ok(());
    };
    let folder = home.join("locales");
    for locale in LOCALES {
        let copy = folder.join(format!("{locale}.UTF-8")).join(MESSAGES);
        fs::create_dir_all(copy.parent().unwrap_or(&folder))?;
        fs::copy(&neutral, &copy).with_context(|| format!("cannot make {}", copy.display()))?;
    }
    server
        .env("LOCPATH", folder)
        // It would go before `lc_messages`.
        .env_remove("LANGUAGE");
    Ok(())
}

/// What a locale says in which nothing is translated; under the name that glibc's package gives it
/// today, or else that of Debian 11.
fn neutral(locales: &Path) -> Option<PathBuf> {
    ["C.utf8", "C.UTF-8"]
        .map(|name| locales.join(name).join(MESSAGES))
        .into_iter()
        .find(|path| path.exists())
}
