//! What must not compile, what the compiler then says, and whether the guide quotes it.

use std::fs;
use std::path::Path;

// The messages list what the backends have, so they are compared with all backends compiled in.
#[cfg(all(feature = "postgres", feature = "mysql"))]
#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// A case of `tests/ui` on the page `reading_compile_errors`.
struct Section<'p> {
    case: &'p str,
    /// Of the wrong code, if the page shows it.
    code: Vec<&'p str>,
    /// Of the compiler's text; `…` stands for what is left out.
    quote: Vec<&'p str>,
}

/// The parts of the page that begin with `<!-- case: … -->`: a block of wrong code, which can be
/// missing, and one of text.
fn sections(page: &str) -> Vec<Section<'_>> {
    let parts = page.split("<!-- case: ").skip(1);
    let sections = parts.map(|part| {
        let (case, part) = part.split_once(" -->").expect("an end of the comment");
        Section {
            case,
            code: block(part, "```compile_fail").unwrap_or_default(),
            quote: block(part, "```text").expect("a quotation"),
        }
    });
    sections.collect()
}

/// The lines that a reader sees of the first block of this kind.
fn block<'p>(part: &'p str, kind: &str) -> Option<Vec<&'p str>> {
    let mut lines = part.lines().skip_while(|line| !line.starts_with(kind));
    lines.next()?;
    let lines = lines.take_while(|line| *line != "```").map(str::trim);
    // Rustdoc hides these.
    let seen = lines.filter(|line| !line.is_empty() && *line != "#" && !line.starts_with("# "));
    Some(seen.collect())
}

/// The first line of a quotation that does not stand in the text, behind the line before it.
fn misquoted<'q>(quote: &[&'q str], text: &str) -> Option<&'q str> {
    let mut lines = text.lines();
    quote
        .iter()
        .copied()
        .find(|quoted| !lines.any(|line| matches(quoted, line.trim())))
}

fn matches(quoted: &str, line: &str) -> bool {
    let mut pieces = quoted.split('…').map(str::trim);
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
        open = piece.is_empty();
    }
    // A line may go on where the quotation ends in an ellipsis, or begins inside of it.
    open || rest.is_empty() || quoted.starts_with('…')
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn guide_quotes_what_the_compiler_prints() {
    let page = read("src/reading_compile_errors.md");
    for Section { case, code, quote } in sections(&page) {
        let wrong = read(&format!("tests/ui/{case}.rs"));
        assert_eq!(misquoted(&code, &wrong), None, "{case}: the wrong code");
        let printed = read(&format!("tests/ui/{case}.stderr"));
        let first = printed.lines().next().unwrap_or_default();
        assert!(
            matches(quote[0], first),
            "{case}: the first line is {first:?}"
        );
        assert_eq!(misquoted(&quote, &printed), None, "{case}: the quotation");
    }
}

#[test]
fn guide_explains_every_case() {
    let page = read("src/reading_compile_errors.md");
    let explained: Vec<_> = sections(&page).iter().map(|section| section.case).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    for file in fs::read_dir(folder).expect("tests/ui") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let case = path
                .file_stem()
                .and_then(|name| name.to_str())
                .expect("a name");
            assert!(explained.contains(&case), "{case} is not in the guide");
        }
    }
}

#[test]
fn misquotation_is_found() {
    let printed = "error[E0277]: `A<B>` can't wait\n  --> a.rs\n   = note: use `.retry(…)`\n";
    for quote in [
        &["error[E0277]: `A<B>` can't wait", "= note: use `.retry(…)`"][..],
        &["error[E0277]: `…` can't wait"],
        &["error[E0277]: `A<…"],
        &["… can't"],
    ] {
        assert_eq!(misquoted(quote, printed), None, "{quote:?}");
    }
    for quote in [
        &["error[E0277]: `A<B>` can't"][..],
        &["error[E0277]: `…` can't lock"],
        &["can't wait"],
        &["… can wait"],
        &["= note: use `.retry(…)`", "error[E0277]: `A<B>` can't wait"],
    ] {
        assert!(misquoted(quote, printed).is_some(), "{quote:?}");
    }
}
