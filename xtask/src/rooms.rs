//! Whether the rooms of `src/` stand in a line: each uses only those that ARCHITECTURE.md lists
//! above it, so none of them depends on itself through others.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::step::{self, Step};

/// What stands before the list of rooms, one in each line.
const LIST: &str = "## The order of the rooms";

pub(crate) fn check() -> Result<Step> {
    println!("\n==> order of the rooms");
    let start = Instant::now();
    let mut sources = Vec::new();
    collect(&step::root().join("src"), "", &mut sources)?;
    let text = fs::read_to_string(step::root().join("ARCHITECTURE.md"))?;
    let wrong = wrong(&order(&text)?, &sources);
    for line in &wrong {
        println!("{line}");
    }
    Ok(Step::of_check(
        "order of the rooms",
        wrong.is_empty(),
        start,
    ))
}

/// Each file with its room, which is the first part of its path; tests may use every room.
fn collect(folder: &Path, room: &str, sources: &mut Vec<(String, String)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let room = if room.is_empty() { &*name } else { room };
        if name == "tests" || ["lib", "doctest_setup"].contains(&room) {
            continue;
        }
        if path.is_dir() {
            collect(&path, room, sources)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            sources.push((room.to_owned(), fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// The first words of the lines in the list.
fn order(architecture: &str) -> Result<Vec<&str>> {
    let list = architecture.split_once(LIST).context("no list of rooms")?.1;
    let list = list.split("```").nth(1).context("no list of rooms")?;
    let lines = list.lines().skip(1);
    Ok(lines.filter_map(|line| line.split(' ').next()).collect())
}

fn wrong(order: &[&str], sources: &[(String, String)]) -> Vec<String> {
    let place = |room: &str| order.iter().position(|it| *it == room);
    let mut wrong = Vec::new();
    for (room, text) in sources {
        let Some(own) = place(room) else {
            wrong.push(format!("`{room}` is not in the list of ARCHITECTURE.md"));
            continue;
        };
        for used in uses(text) {
            if used != room && place(used).is_none_or(|it| it > own) {
                wrong.push(format!("`{room}` uses `{used}`, which is not above it"));
            }
        }
    }
    for room in order {
        if !sources.iter().any(|(it, _)| it == room) {
            wrong.push(format!("there is no `{room}`"));
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

/// The rooms behind each `crate::`. A name that begins with a capital is one of `lib.rs`.
fn uses(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    let paths = lines.flat_map(|line| line.split("crate::").skip(1));
    paths.filter_map(|path| {
        let is_end = |c: char| !(c.is_ascii_lowercase() || c == '_' || c == '{');
        path.split(is_end).next().filter(|room| !room.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(room, text): &(&str, &str)| ((*room).to_owned(), (*text).to_owned());
        texts.iter().map(own).collect()
    }

    #[test]
    fn this_crate_is_in_order() {
        assert!(check().unwrap().succeeded);
    }

    /// Twin: the check finds each way out of the order.
    #[test]
    fn twin_circle_and_rooms_without_a_place_are_found() {
        let order = order("## The order of the rooms\n\n```text\na  x\nb  y\ngone\n```").unwrap();
        let sources = sources(&[
            ("a", "use std::fmt;\nuse crate::b::B; // crate::a"),
            ("b", "use crate::a::A;\n// crate::c\nlet x = crate::Top;"),
            ("new", ""),
        ]);
        assert_eq!(
            wrong(&order, &sources),
            [
                "`a` uses `b`, which is not above it",
                "`new` is not in the list of ARCHITECTURE.md",
                "there is no `gone`",
            ]
        );
        let hidden = ("a".to_owned(), "use crate::{b, c};".to_owned());
        assert_eq!(
            wrong(&["a"], &[hidden]),
            ["`a` uses `{b`, which is not above it"]
        );
    }
}
