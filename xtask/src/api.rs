//! Whether the public items are those of `xtask/api.txt`, so that a change of the API is looked at.
//!
//! Read from the pages of rustdoc, which every toolchain writes. Hidden items are not part of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::step::{self, Step};

/// So many public items at most.
const ITEMS: usize = 60;

/// So many of them are traits at most.
const TRAITS: usize = 12;

/// What a page is about, by how its file's name begins.
const KINDS: [&str; 7] = ["struct", "enum", "trait", "fn", "type", "constant", "macro"];

/// What is part of an item, by the anchors of its page.
const PARTS: [&str; 6] = [
    "method",
    "tymethod",
    "associatedtype",
    "associatedconstant",
    "variant",
    "structfield",
];

/// Builds the documentation and compares. With `API=overwrite` in the environment it writes the
/// list anew.
pub(crate) fn check() -> Result<Step> {
    let built = step::checked("docs", "doc --no-deps --all-features")?;
    if !built.succeeded {
        return Ok(built);
    }
    let start = Instant::now();
    let (list, items) = list(&pages())?;
    let path = step::root().join("xtask/api.txt");
    if std::env::var("API").is_ok_and(|it| it == "overwrite") {
        fs::write(&path, &list)?;
    }
    let kept = fs::read_to_string(&path)?;
    let mut wrong = difference(&kept, &list);
    let traits = items.iter().filter(|it| it.starts_with("trait ")).count();
    if items.len() > ITEMS || traits > TRAITS {
        wrong.push(format!(
            "{} public items, {traits} of them traits; {ITEMS} and {TRAITS} at most",
            items.len()
        ));
    }
    println!("\n==> public API: {} items, {traits} traits", items.len());
    for line in &wrong {
        println!("{line}");
    }
    if !wrong.is_empty() {
        println!("if that is meant: API=overwrite cargo xtask api");
    }
    Ok(Step::of_check("public API", wrong.is_empty(), start))
}

fn pages() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| step::root().join("target"), PathBuf::from);
    target.join("doc/diesel_row_lock")
}

/// Each item with its parts, and the items alone.
fn list(pages: &Path) -> Result<(String, BTreeSet<String>)> {
    let all = fs::read_to_string(pages.join("all.html"))?;
    let mut list = String::new();
    let mut items = BTreeSet::new();
    for page in between(&all, "<a href=\"", "\"") {
        let Some(item) = item(page) else { continue };
        if items.insert(item.clone()) {
            let text = fs::read_to_string(pages.join(page)).context(item.clone())?;
            writeln!(list, "{item}")?;
            for part in parts(&text) {
                writeln!(list, "    {part}")?;
            }
        }
    }
    Ok((list, items))
}

/// `struct lease::Handle` of `lease/struct.Handle.html`.
fn item(page: &str) -> Option<String> {
    let (folder, file) = page.rsplit_once('/').unwrap_or(("", page));
    let (kind, name) = file.strip_suffix(".html")?.split_once('.')?;
    if !KINDS.contains(&kind) || folder.starts_with("http") {
        return None;
    }
    let folder = folder.replace('/', "::");
    let sign = if folder.is_empty() { "" } else { "::" };
    Some(format!("{kind} {folder}{sign}{name}"))
}

/// What the item has itself, and the names of the traits that it implements.
fn parts(page: &str) -> BTreeSet<String> {
    let own = page
        .split("id=\"synthetic-implementations\"")
        .next()
        .unwrap_or_default();
    let (own, traits) = own
        .split_once("id=\"trait-implementations\"")
        .unwrap_or((own, ""));
    // Of a trait, what implements it is not part of it.
    let own = own.split("id=\"implementors\"").next().unwrap_or_default();
    let mut parts = BTreeSet::new();
    for id in between(own, "id=\"", "\"") {
        let Some((kind, name)) = id.split_once('.') else {
            continue;
        };
        if PARTS.contains(&kind) && !name.ends_with(".fields") {
            // A second one of the name, in another `impl`, has a number behind it.
            let name = name.split('-').next().unwrap_or(name);
            parts.insert(format!("{kind} {}", name.replace(".field.", ".")));
        }
    }
    for id in between(traits, "id=\"impl-", "\"") {
        if let Some((name, _)) = id.split_once("-for-") {
            let name = name.split("%3C").next().unwrap_or(name);
            parts.insert(format!("impl {name}"));
        }
    }
    parts
}

fn between<'t>(text: &'t str, begin: &'t str, end: &'t str) -> impl Iterator<Item = &'t str> {
    let parts = text.split(begin).skip(1);
    parts.filter_map(move |part| part.split(end).next())
}

/// The lines that came and went, each with its item.
fn difference(kept: &str, now: &str) -> Vec<String> {
    let (kept, now) = (lines(kept), lines(now));
    let gone = kept.difference(&now).map(|line| format!("- {line}"));
    let new = now.difference(&kept).map(|line| format!("+ {line}"));
    gone.chain(new).collect()
}

/// Each line with its item.
fn lines(list: &str) -> BTreeSet<String> {
    let mut item = String::new();
    let mut lines = BTreeSet::new();
    for line in list.lines() {
        match line.strip_prefix("    ") {
            Some(part) => lines.insert(format!("{item}: {part}")),
            None => {
                line.clone_into(&mut item);
                lines.insert(line.to_owned())
            }
        };
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r##"<h2 id="implementations"><section id="method.with">
        <section id="method.with-1"><section id="variant.Busy"><span id="variant.Busy.fields">
        <span id="variant.Busy.field.source"><h2 id="trait-implementations">
        <section id="impl-Clone-for-RowLock%3CS%3E"><section id="method.clone">
        <section id="impl-From%3CError%3E-for-RowLock"><h2 id="synthetic-implementations">
        <section id="impl-Send-for-RowLock">"##;

    #[test]
    fn page_gives_what_the_item_has_itself() {
        assert_eq!(
            parts(PAGE).into_iter().collect::<Vec<_>>(),
            [
                "impl Clone",
                "impl From",
                "method with",
                "variant Busy",
                "variant Busy.source"
            ]
        );
    }

    #[test]
    fn items_are_told_from_other_pages() {
        assert_eq!(
            item("lease/struct.Handle.html").unwrap(),
            "struct lease::Handle"
        );
        assert_eq!(item("fn.all.html").unwrap(), "fn all");
        assert_eq!(item("index.html"), None);
        assert_eq!(item("https://docs.rs/diesel/struct.X.html"), None);
    }

    #[test]
    fn difference_names_the_item_of_a_part() {
        let old = "struct A\n    method x\nstruct B\n";
        let new = "struct A\n    method y\nstruct B\n    method x\n";
        assert_eq!(
            difference(old, new),
            [
                "- struct A: method x",
                "+ struct A: method y",
                "+ struct B: method x"
            ]
        );
        assert!(difference(new, new).is_empty());
    }
}
