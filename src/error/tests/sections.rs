//! The table in `src/errors.md` against the `# Errors` sections of the calls.
//!
//! A section gives the variants that it links to (`LockError::X`), and all of another call's behind
//! "Those of", "those of", "As" or "See", less those that stand behind "but for". The table has the
//! sum.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fs};

use super::{root, variants};

/// In the order in which the table has them. The race prover has an error of its own.
const ROOMS: [&str; 7] = [
    "row_lock",
    "update_row",
    "optimistic",
    "queue",
    "lease",
    "commit_token",
    "waits",
];

/// What the documentation of a call says of its errors.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Section {
    own: BTreeSet<String>,
    included: Vec<String>,
    excluded: BTreeSet<String>,
}

/// The name behind which `errors.md` lists what any statement can end with.
const ANY_STATEMENT: &str = "errors#any-statement";

impl Section {
    fn parse(text: &str, of_type: &str) -> Self {
        let mut section = Self::default();
        let mut before = "";
        let mut rest = text;
        let mut excludes = false;
        while let Some((head, tail)) = rest.split_once(['[', '`']) {
            before = if head.is_empty() { before } else { head };
            excludes =
                before.ends_with("but for ") || excludes && [", ", " and "].contains(&before);
            let opens_link = rest.as_bytes()[head.len()] == b'[';
            let (label, target);
            if opens_link {
                (label, rest) = tail.split_once(']').expect("a link ends");
                (target, rest) = match rest.strip_prefix('(') {
                    Some(link) => link.split_once(')').expect("a link ends"),
                    None => (label, rest),
                };
            } else {
                (label, rest) = tail.split_once('`').expect("code ends");
                target = label;
            }
            let target = target.trim_matches('`').trim_start_matches("crate::");
            let variant = target.strip_prefix("LockError::");
            if excludes {
                let variant = variant.unwrap_or(label).trim_matches('`');
                section.excluded.insert(variant.to_owned());
            } else if let Some(variant) = variant {
                section.own.insert(variant.to_owned());
            } else if opens_link
                && ["hose of ", "As ", "See "]
                    .iter()
                    .any(|it| before.ends_with(it))
            {
                section.included.push(call(target, of_type));
            }
            before = " ";
        }
        section
    }
}

/// The name of a call without the modules that it lies in.
fn call(path: &str, of_type: &str) -> String {
    let path = path.replace("Self::", &format!("{of_type}::"));
    let parts: Vec<_> = path.split("::").collect();
    let is_type = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase());
    match parts[..] {
        [.., of, name] if is_type(of) => format!("{of}::{name}"),
        [.., name] => name.to_owned(),
        [] => unreachable!("a split gives one part"),
    }
}

/// The items of a file with the sections of their errors, and the calls that lack one.
fn sections(source: &str) -> (Vec<(String, Section)>, Vec<String>) {
    let (mut found, mut lacking) = (Vec::new(), Vec::new());
    let (mut doc, mut of_type) = (String::new(), String::new());
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if let Some(text) = code.strip_prefix("///") {
            doc += text.trim_start();
            doc += if text.is_empty() { "\n" } else { " " };
            continue;
        }
        if code.starts_with("#[") || code.starts_with("//") {
            continue;
        }
        let mut head = code.to_owned();
        let has_head = line.starts_with("impl") || code.contains("fn ") && !doc.is_empty();
        while has_head && !head.contains(['{', ';']) {
            head += " ";
            head += lines.next().expect("an item has a body").trim();
        }
        if line.starts_with("impl") {
            of_type = implemented(&head);
        }
        let visible = code.strip_prefix("pub ").unwrap_or(code);
        let item = ["fn ", "struct "]
            .iter()
            .find_map(|it| visible.strip_prefix(it));
        if let Some(item) = item {
            let end = item.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let item = &item[..end.unwrap_or(item.len())];
            let is_method = line.starts_with(' ');
            let name = if is_method {
                format!("{of_type}::{item}")
            } else {
                item.to_owned()
            };
            let fails = head.contains("-> Result<") && head.contains("LockError>");
            match doc.split_once("# Errors ") {
                Some((_, section)) => {
                    let section = section.split("\n# ").next().unwrap_or_default();
                    let section = section.replace('\n', " ");
                    found.push((name, Section::parse(&section, &of_type)));
                }
                None if fails && code.starts_with("pub fn") => lacking.push(name),
                None => {}
            }
        }
        doc.clear();
    }
    (found, lacking)
}

/// The type of an `impl`, without its parameters.
fn implemented(head: &str) -> String {
    let head = head.replace("->", "");
    let mut depth = 0;
    let after_parameters = head.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && c == ' '
    });
    let of = &head[after_parameters.map_or(head.len(), |(at, _)| at + 1)..];
    let of = of.split(" where").next().unwrap_or_default();
    let of = of.split_once(" for ").map_or(of, |(_, of)| of);
    of.split(['<', ' ']).next().unwrap_or_default().to_owned()
}

/// All that a call can return.
fn all_of(call: &str, sections: &BTreeMap<String, Section>) -> BTreeSet<String> {
    let section = sections
        .get(call)
        .unwrap_or_else(|| panic!("`{call}` is named, but has no `# Errors`"));
    let included = section.included.iter();
    let mut all: BTreeSet<_> = included.flat_map(|it| all_of(it, sections)).collect();
    for variant in &section.excluded {
        assert!(
            all.remove(variant),
            "{call}: but for {variant}, which it has from none"
        );
    }
    all.extend(section.own.iter().cloned());
    all
}

fn files(at: PathBuf) -> Vec<PathBuf> {
    if at.is_file() {
        return vec![at];
    }
    let mut entries: Vec<_> = fs::read_dir(at)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    entries.sort();
    let entries = entries
        .into_iter()
        .filter(|it| it.file_stem().unwrap() != "tests");
    entries
        .flat_map(files)
        .filter(|it| it.extension().unwrap() == "rs")
        .collect()
}

/// The rows of the table, calls that can return the same in one; and all variants in it.
fn table(page: &str) -> (String, BTreeSet<String>) {
    let variants = variants();
    let mut found = BTreeMap::<String, Section>::new();
    let mut order = Vec::new();
    for room in ROOMS {
        let folder = root().join("src").join(room);
        let at = if folder.is_dir() {
            folder
        } else {
            folder.with_extension("rs")
        };
        for file in files(at) {
            let (sections, lacking) = sections(&fs::read_to_string(&file).unwrap());
            assert!(lacking.is_empty(), "without `# Errors`: {lacking:?}");
            for (call, section) in sections {
                // The same name for a call with other options: together they return all of it.
                let known = found.entry(call.clone()).or_default();
                if *known == Section::default() {
                    order.push(call);
                    *known = section;
                } else {
                    known.own.extend(section.own);
                    known.included.extend(section.included);
                    known
                        .excluded
                        .retain(|variant| section.excluded.contains(variant));
                }
            }
        }
    }
    let base = page.split_once("# Any statement").expect("a heading").1;
    let base = base.split("\n# ").next().unwrap_or_default();
    found.insert(ANY_STATEMENT.to_owned(), Section::parse(base, ""));
    let mut rows = Vec::<(BTreeSet<String>, Vec<String>)>::new();
    for call in order {
        let can_return = all_of(&call, &found);
        assert!(!can_return.is_empty(), "`# Errors` of `{call}` names none");
        for variant in &can_return {
            assert!(variants.contains(&&**variant), "{call}: no {variant}");
        }
        match rows.iter_mut().find(|(set, _)| *set == can_return) {
            Some((_, calls)) => calls.push(call),
            None => rows.push((can_return, vec![call])),
        }
    }
    let any_statement = all_of(ANY_STATEMENT, &found);
    let mut text = "| call | can return |\n|---|---|\n".to_owned();
    for (set, calls) in &rows {
        let calls: Vec<_> = calls.iter().map(|call| format!("`{call}`")).collect();
        let (any, known) = match set.is_superset(&any_statement) {
            true => (
                Some("[those of any statement](#any-statement)".to_owned()),
                &any_statement,
            ),
            false => (None, &BTreeSet::new()),
        };
        let rest = variants
            .iter()
            .filter(|it| set.contains(**it) && !known.contains(**it));
        let rest = rest.map(|it| format!("[`{it}`](crate::LockError::{it})"));
        let links: Vec<_> = any.into_iter().chain(rest).collect();
        text += &format!("| {} | {} |\n", calls.join(", "), links.join(", "));
    }
    (text, rows.into_iter().flat_map(|(set, _)| set).collect())
}

/// After a change of the `# Errors` sections, `ERRORS=overwrite cargo test --lib` writes the table
/// anew. Look at what has changed in it: it is what users are told.
#[test]
fn table_of_the_calls_is_what_their_sections_say() {
    const BEGIN: &str = "<!-- calls -->\n";
    let path = root().join("src/errors.md");
    let page = fs::read_to_string(&path).unwrap();
    let (table, placed) = table(&page);
    let unplaced: Vec<_> = variants()
        .into_iter()
        .filter(|it| !placed.contains(*it))
        .collect();
    assert!(unplaced.is_empty(), "no call returns {unplaced:?}");
    let (head, old) = page.split_once(BEGIN).expect("a place for the table");
    if env::var("ERRORS").is_ok_and(|it| it == "overwrite") {
        fs::write(path, format!("{head}{BEGIN}{table}")).unwrap();
    } else {
        assert_eq!(old, table, "see the comment of this test");
    }
}

/// Twins: what the comparison would miss if a section were read wrongly.
#[test]
fn twin_sections_are_read_to_the_letter() {
    let source = "\
impl<C: A<B>, D> Lease<C> for X<D> {
    /// Words.
    ///
    /// # Errors
    ///
    /// - [`Busy`](LockError::Busy), [`Timeout`](crate::LockError::Timeout): with
    ///   [`no_wait`](Self::no_wait);
    /// - those of [`try_it`](Self::try_it) and more, but for `Pool`,
    ///   [`Aborted`](LockError::Aborted) and `Escaped`, and [`Denied`](LockError::Denied);
    /// - those of [any statement](crate::errors#any-statement).
    ///
    /// # Example
    ///
    /// [`Database`](LockError::Database)
    #[track_caller]
    pub fn first<E>(
        self,
    ) -> Result<(), E>
    where
        E: From<LockError>,
    {
    }

    /// None.
    pub fn second() -> Result<(), LockError> {}
}

/// # Errors
///
/// See [`Lease::first`].
pub fn third() {}
";
    let set = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
    let (found, lacking) = sections(source);
    let first = Section {
        own: set(&["Busy", "Timeout", "Denied"]),
        included: vec!["X::try_it".to_owned(), ANY_STATEMENT.to_owned()],
        excluded: set(&["Pool", "Aborted", "Escaped"]),
    };
    let third = Section {
        included: vec!["Lease::first".to_owned()],
        ..Section::default()
    };
    assert_eq!(
        found,
        [("X::first".to_owned(), first), ("third".to_owned(), third)]
    );
    assert_eq!(lacking, ["X::second"]);
}
