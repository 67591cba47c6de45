//! The container image's build commands work in a clean directory. Never builds an image: that takes
//! a daemon.

use std::process::Command;

use crate::tree::root;

#[test]
fn the_image_builds_from_what_is_committed_alone() {
    let output = Command::new(root().join("scripts/replay-dockerfile"))
        // The optimised build takes ten times as long and shows nothing more of the commands.
        .arg("--quick")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{told}");
    let version = concat!("portcullis ", env!("CARGO_PKG_VERSION"));
    assert!(
        printed
            .lines()
            .last()
            .is_some_and(|line| line.starts_with(version)),
        "{printed}"
    );
}

#[test]
fn the_image_runs_as_nobody_in_particular() {
    let text = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let user = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("USER "));
    let id = user.and_then(|user| user.split(':').next()?.parse::<u32>().ok());
    assert!(
        id.is_some_and(|id| id >= 10_000),
        "the last USER is {user:?}"
    );
}
