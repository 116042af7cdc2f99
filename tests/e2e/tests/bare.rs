//! A machine that gives no namespaces: the default refuses and says what is in the way; `trusted` runs, and says how little holds.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs, skip};

/// Takes every way to namespaces from the program that follows.
const WITHOUT: &[&str] = &[
    "unshare",
    "-Ur",
    "sh",
    "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"",
];

fn can_be_taken_away() -> bool {
    let tried = std::process::Command::new(WITHOUT[0]).args(&WITHOUT[1..]).arg("true").status();
    if tried.is_ok_and(|status| status.success()) {
        return true;
    }
    skip("namespaces cannot be taken away here");
    false
}

#[test]
fn without_namespaces_only_trusted_runs_and_paths_follow() {
    needs!("unshare", "setpriv", "python3", "gcc");
    if !can_be_taken_away() {
        return;
    }
    let place = Place::flow(
        r#"
[cells.first]
lang = "python"
params = { n = 20 }
outputs = { xs = "list<int>", path = "str" }
code = '''
import os
xs = [n, n + 1]
path = os.environ["OUT"]
'''

[cells.second]
lang = "sh"
inputs = { xs = "first.xs" }
outputs = { y = "str" }
code = 'cat "$IN/xs.json" > "$OUT/y"; cat secret ../secret "$PROJECT/secret" && exit 9; exit 0'

[cells.built]
lang = "c"
outputs = { z = "int" }
code = '''
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/z", getenv("OUT"));
    FILE *out = fopen(path, "w");
    return out == NULL || fputs("42", out) < 0 || fclose(out) != 0;
}
'''

[cells.wrong]
lang = "c"
code = "int main(void) { return x; }"
"#,
    );
    place.write("secret", "not for cells");
    let refused = place.call_through(WITHOUT, &["run", "."]).end();
    let told = refused.stderr();
    assert!(told.contains("sysctl user.max_user_namespaces="), "{told}");

    let words = ["run", "--format", "json", "-k", "--policy", "trusted", "."];
    let run = place.call_through(WITHOUT, &words).end().run();
    assert_eq!(run.told(), "built ok, first ok, second ok, wrong failed", "{}", run.stderr);
    assert_eq!(run.bytes("built", "z"), [42]);
    let path = String::from_utf8_lossy(&run.bytes("first", "path")).into_owned();
    assert!(path.contains("/cells/polyloom-") && path.ends_with("/cell/out"), "{path}");
    for (mechanism, level) in
        [("namespaces", "none"), ("network", "partial"), ("kill", "partial"), ("seccomp", "full")]
    {
        assert_eq!(run.level("second", mechanism), level, "{mechanism}");
    }
    // The place of an error is the author's, wherever the code lay.
    let found = &run.cell("wrong")["diagnostics"][0];
    assert!(found["file"].as_str().unwrap().ends_with("polyloom.toml"), "{found}");
    let left = std::fs::read_dir(place.store().join("cells")).unwrap().count();
    assert_eq!(left, 0);
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn doctor_says_what_is_in_the_way() {
    needs!("unshare", "setpriv");
    if !can_be_taken_away() {
        return;
    }
    let place = Place::new();
    let document = place.call_through(WITHOUT, &["doctor", "--format", "json"]).end().json();
    assert_eq!(document["sandbox_enough"], false);
    let parts = document["sandbox_parts"].as_array().unwrap();
    let row = |name: &str| parts.iter().find(|row| row["mechanism"] == name).unwrap();
    assert_eq!(row("user namespace")["available"], "none");
    assert_eq!(row("mount namespace")["used"], "");
    assert_eq!(row("no_new_privs")["available"], "full", "{}", row("no_new_privs"));
    assert_eq!(row("synthetic /etc")["available"], "none");
    let warm = &document["warm_starts"];
    assert_eq!(
        (&warm["possible"], row("warm starts")["available"].as_str()),
        (&false.into(), Some("none"))
    );
    assert!(!warm["reason"].as_str().unwrap().is_empty(), "{warm}");
    assert!(warm["with_daemon"].is_null(), "{warm}");
}

#[test]
fn no_executor_is_tested_outside_of_a_sandbox() {
    needs!("unshare", "setpriv");
    if !can_be_taken_away() {
        return;
    }
    let place = Place::new();
    let ended = place.call_through(WITHOUT, &["plugin", "test", "sh"]).end().exits(3);
    assert_eq!(ended.stdout(), "");
    let told = ended.stderr();
    assert!(told.contains("namespaces") && told.contains("hint: "), "{told}");
}
