//! Looks at the page of the contention benchmark in a real browser, on a phone's screen.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{ensure, Context, Result};

use crate::interrupt;
use crate::step::Step;

/// Debian's package, and the program in it.
pub(crate) const BROWSER: &str = "chromium-headless-shell";

/// What the browser is to find out. It leaves nothing of the page but its verdict.
const SCRIPT: &str = include_str!("page.js");

/// The page as it is must pass, and must not once it is spoiled: else the look is none.
pub(crate) fn check(page: &Path) -> Result<Step> {
    println!("\n==> page in a browser");
    let start = Instant::now();
    let html = fs::read_to_string(page).with_context(|| format!("no {}", page.display()))?;
    let folder = page.with_file_name("page-check");
    fs::create_dir_all(&folder)?;
    let looks = [
        ("as it is", html.clone(), true),
        ("without plots", html.replace("<svg", "<div"), false),
        (
            "with a table that is too wide",
            html.replace("overflow-x", "x"),
            false,
        ),
        (
            "with empty plots",
            html.replace("<polyline", "<g").replace("<rect", "<g"),
            false,
        ),
        (
            "with a picture from elsewhere",
            html.replace("</body>", "<img src=\"elsewhere.png\"></body>"),
            false,
        ),
    ];
    let mut succeeded = true;
    for (number, (what, html, is_good)) in looks.into_iter().enumerate() {
        interrupt::check()?;
        let file = folder.join(format!("{number}.html"));
        fs::write(
            &file,
            html.replace("</body>", &format!("<script>{SCRIPT}</script></body>")),
        )?;
        let verdict = verdict(&file)?;
        let as_expected = verdict.starts_with("good") == is_good;
        let mark = if as_expected { "" } else { " (UNEXPECTED)" };
        println!("{what}: {verdict}{mark}");
        succeeded &= as_expected;
    }
    Ok(Step::of_check("page in a browser", succeeded, start))
}

/// What the script says.
fn verdict(file: &Path) -> Result<String> {
    let url = format!("file://{}", file.canonicalize()?.display());
    let output = Command::new(BROWSER)
        // As root, and in containers, the browser has no sandbox.
        .args(["--no-sandbox", "--disable-gpu", "--window-size=390,800"])
        .args(["--timeout=20000", "--dump-dom", &url])
        .output()
        .with_context(|| format!("cannot run {BROWSER}"))?;
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{BROWSER}: {}", output.status);
    let verdict = dom
        .split_once("<p id=\"verdict\">")
        .and_then(|(_, rest)| rest.split_once("</p>"));
    let (verdict, _) = verdict.with_context(|| format!("no verdict: {dom}"))?;
    Ok(verdict.to_owned())
}
