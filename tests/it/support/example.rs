//! The examples, as programs.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Builds an example with the features of this test and some more, and says where it is.
pub(crate) fn build_example(name: &str, more_features: &[&'static str]) -> PathBuf {
    // …/target/debug/deps/it-0123456789abcdef
    let test = env::current_exe().expect("the path of this test");
    let profile_folder = test.ancestors().nth(2).expect("a folder for each profile");
    let profile = profile_folder.file_name().and_then(|name| name.to_str());
    let backends = [
        ("postgres", cfg!(feature = "postgres")),
        ("mysql", cfg!(feature = "mysql")),
        ("bundled-postgres", cfg!(feature = "bundled-postgres")),
    ];
    let backends = backends.iter().filter(|(_, on)| *on).map(|(name, _)| *name);
    let features: Vec<_> = backends.chain(more_features.iter().copied()).collect();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", name])
        .args(["--features", &features.join(",")])
        .args([
            "--profile",
            profile.filter(|name| *name != "debug").unwrap_or("dev"),
        ])
        .arg("--target-dir")
        .arg(profile_folder.parent().expect("the target folder"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the example must build");
    let program = format!("{name}{}", env::consts::EXE_SUFFIX);
    profile_folder.join("examples").join(program)
}
