//! Hostile flow files, manifests and texts: each is refused by name or does nothing but what it says.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_attacks::files::files;

#[test]
fn every_hostile_file_is_refused_or_taken_at_its_word() {
    let only = std::env::var("POLYLOOM_ATTACKS").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|id| !id.is_empty()).collect();
    let mut bad = String::new();
    for case in files() {
        if !only.is_empty() && !only.contains(&case.id.as_str()) {
            continue;
        }
        for (number, one) in case.tries.iter().enumerate() {
            for wrong in one.wrong() {
                bad.push_str(&format!("{} {}, {}: {wrong}\n", case.id, case.title, number + 1));
            }
        }
    }
    assert!(bad.is_empty(), "{bad}");
}
