//! The mirror of Debian's archive that this machine uses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const SOURCES: &str = "/etc/apt/sources.list";
const MORE_SOURCES: &str = "/etc/apt/sources.list.d";

/// What apt is told of one archive and suite.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
}

/// The URI of the mirror.
pub(super) fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suites = [codename(&release), "stable", "testing", "unstable", "sid"];
    choose(sources(), &suites).context(
        "apt's sources name no mirror of Debian's archive, \
         from which to have servers of other suites",
    )
}

fn codename(os_release: &str) -> &str {
    let mut lines = os_release.lines();
    let codename = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    codename.unwrap_or("stable").trim_matches('"')
}

/// Other archives have suites of such names, too. Few of them end in `debian`, and none of them has
/// the signature that apt is to ask for.
fn choose(sources: Vec<Source>, suites: &[&str]) -> Option<String> {
    let (likely, others): (Vec<_>, Vec<_>) = sources
        .into_iter()
        .filter(|source| {
            suites.contains(&source.suite.as_str())
                && source
                    .components
                    .iter()
                    .any(|component| component == "main")
        })
        .map(|source| source.uri)
        .partition(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    likely.into_iter().chain(others).next()
}

fn sources() -> Vec<Source> {
    let more = fs::read_dir(MORE_SOURCES).into_iter().flatten().flatten();
    let mut files: Vec<_> = more.map(|file| file.path()).collect();
    files.sort();
    files.insert(0, PathBuf::from(SOURCES));
    files.iter().flat_map(|file| sources_in(file)).collect()
}

fn sources_in(file: &Path) -> Vec<Source> {
    let text = fs::read_to_string(file).unwrap_or_default();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("list") => one_line_style(&text),
        Some("sources") => deb822_style(&text),
        _ => Vec::new(),
    }
}

/// `deb [option=value] URI suite component…`
fn one_line_style(text: &str) -> Vec<Source> {
    let source = |line: &str| {
        let line = line.split('#').next()?.trim();
        let mut rest = line.strip_prefix("deb")?;
        rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
        if let Some(options) = rest.strip_prefix('[') {
            rest = options.split_once(']')?.1;
        }
        let mut words = rest.split_whitespace().map(str::to_owned);
        Some(Source {
            uri: words.next()?,
            suite: words.next()?,
            components: words.collect(),
        })
    };
    text.lines().filter_map(source).collect()
}

/// Stanzas of fields, with an empty line in between.
fn deb822_style(text: &str) -> Vec<Source> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines: Vec<_> = lines.collect();
    let stanzas = lines.split(|line| line.trim().is_empty());
    stanzas.flat_map(sources_of_stanza).collect()
}

fn sources_of_stanza(stanza: &[&str]) -> Vec<Source> {
    let field = |wanted: &str| -> Vec<String> {
        let mut words = Vec::new();
        let mut in_field = false;
        for line in stanza {
            let mut value = *line;
            // A line that begins with a space goes on with the field before.
            if !line.starts_with([' ', '\t']) {
                let (name, rest) = line.split_once(':').unwrap_or((line, ""));
                in_field = name.eq_ignore_ascii_case(wanted);
                value = rest;
            }
            if in_field {
                words.extend(value.split_whitespace().map(str::to_owned));
            }
        }
        words
    };
    let is_off = field("Enabled").first().is_some_and(|word| word == "no");
    if is_off || !field("Types").iter().any(|word| word == "deb") {
        return Vec::new();
    }
    let (suites, components) = (field("Suites"), field("Components"));
    let of_uri = |uri: String| {
        let (suites, components) = (suites.clone(), components.clone());
        suites.into_iter().map(move |suite| Source {
            uri: uri.clone(),
            suite,
            components: components.clone(),
        })
    };
    field("URIs").into_iter().flat_map(of_uri).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITES: [&str; 2] = ["bookworm", "stable"];

    fn chosen(text: &str) -> Option<String> {
        let sources = match text.contains("URIs:") {
            true => deb822_style(text),
            false => one_line_style(text),
        };
        choose(sources, &SUITES)
    }

    #[test]
    fn a_mirror_is_found_in_lines() {
        let text = "# deb http://off.example/debian bookworm main\n\
                    deb-src http://source.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/a b] http://other.example/apt bookworm main\n\
                    deb http://security.example/debian-security bookworm-security main\n\
                    deb\thttp://mirror.example/debian/ bookworm main contrib # the one\n";
        assert_eq!(chosen(text).unwrap(), "http://mirror.example/debian/");
    }

    #[test]
    fn a_mirror_is_found_in_stanzas() {
        let text =
            "Types: deb\nURIs: https://other.example/node\nSuites: nodistro\nComponents: main\n\
                    \n\
                    Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\n\
                    Components: main\n\
                    \n\
                    # a comment\n\
                    Types: deb deb-src\n\
                    # another\n\
                    URIs: http://mirror.example/debian\n\
                    Suites: bookworm-updates\n bookworm\n\
                    Components: main\n\
                    Signed-By: /usr/share/keyrings/some.gpg\n";
        assert_eq!(chosen(text).unwrap(), "http://mirror.example/debian");
    }

    #[test]
    fn a_list_of_mirrors_will_do() {
        let text = "deb mirror+file:///etc/apt/mirrors/debian.list bookworm main\n";
        let uri = "mirror+file:///etc/apt/mirrors/debian.list";
        assert_eq!(chosen(text).unwrap(), uri);
    }

    #[test]
    fn other_archives_are_none() {
        assert_eq!(chosen("deb http://a.example/debian jammy main\n"), None);
        assert_eq!(chosen("deb http://a.example/debian bookworm nginx\n"), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn the_codename_is_the_systems() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=trixie\n"), "trixie");
        assert_eq!(codename("ID=debian\n"), "stable");
    }
}
