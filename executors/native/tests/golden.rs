//! The golden conversations of the protocol with an executor in C, byte for byte. The one test of its process, since it changes its folder.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../../../sdk/rust/tests/replay/mod.rs"]
mod replay;

use std::path::Path;
use std::process::Command;
use std::thread;

#[test]
fn conversations_are_golden() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/c");
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libgolden.so");
    let built = Command::new("cc")
        .args(["-std=c99", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(&sdk)
        .arg("-o")
        .args([&library, &sdk.join("tests/golden.c")])
        .output();
    let Ok(built) = built else { return eprintln!("skipped: there is no cc") };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    replay::all(|stream| {
        let library = library.clone();
        thread::spawn(move || polyloom_executor_native::serve_library(stream, &library));
    });
}
