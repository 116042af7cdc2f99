//! `run --watch`: folders and links that take other names, or other things that take theirs.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::os::unix::fs::symlink;

use polyloom_test_e2e::{Place, Running};
use rustix::process::Signal;

/// What cell `a` prints in the next run.
fn next(running: &mut Running) -> String {
    let said = running.until(|event| event["event"] == "log" && event["cell"] == "a");
    running.until(|event| event["event"] == "run.finished");
    said["text"].as_str().unwrap().trim_end().to_owned()
}

const FLOW: &str = "[cells.a]\nlang = \"sh\"\ninputs = { x = \"file:in/x\" }\ncode = 'cat $x'\n";

#[test]
fn a_folder_is_renamed_away_and_another_takes_its_name() {
    let place = Place::flow(FLOW);
    place.write("in/x", "one");
    let project = place.project();
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    assert_eq!(next(&mut running), "one");
    for round in 0..2 {
        // Gone and back with something else in it.
        fs::rename(project.join("in"), project.join("away")).unwrap();
        place.write("away/x", format!("two {round}"));
        fs::rename(project.join("away"), project.join("in")).unwrap();
        assert_eq!(next(&mut running), format!("two {round}"));
        place.write("in/x", format!("three {round}"));
        assert_eq!(next(&mut running), format!("three {round}"));
        // Made anew, perhaps with the number of the one that is gone.
        fs::remove_dir_all(project.join("in")).unwrap();
        place.write("in/x", format!("four {round}"));
        assert_eq!(next(&mut running), format!("four {round}"));
        place.write("in/x", format!("five {round}"));
        assert_eq!(next(&mut running), format!("five {round}"));
    }
    running.signal(Signal::INT);
    let _ = running.end();
}

#[test]
fn the_folder_of_the_flow_is_replaced() {
    for inside in [true, false] {
        let place = Place::new();
        let root = place.project();
        place.write("flow/polyloom.toml", FLOW);
        place.write("flow/in/x", "one");
        let call = match inside {
            true => place.call(&["run", "--watch", "--events", "-"]).cwd(root.join("flow")),
            false => place.call(&["run", "flow", "--watch", "--events", "-"]),
        };
        let mut running = call.start();
        assert_eq!(next(&mut running), "one");
        fs::rename(root.join("flow"), root.join("flow.old")).unwrap();
        place.write("flow/polyloom.toml", FLOW);
        place.write("flow/in/x", "two");
        assert_eq!(next(&mut running), "two");
        place.write("flow/in/x", "three");
        assert_eq!(next(&mut running), "three");
        // Its own parent.
        let above = root.with_extension("moved");
        fs::rename(&root, &above).unwrap();
        place.write("flow/polyloom.toml", FLOW);
        place.write("flow/in/x", "four");
        assert_eq!(next(&mut running), "four");
        running.signal(Signal::INT);
        let _ = running.end();
    }
}

#[test]
fn a_link_leads_elsewhere() {
    let place = Place::new();
    let root = place.project();
    // As deployments do it: the flow and what it reads are behind a link that is swapped.
    for version in ["v1", "v2", "v3"] {
        place.write(&format!("versions/{version}/polyloom.toml"), FLOW);
        place.write(&format!("versions/{version}/in/x"), version);
    }
    symlink("versions/v1", root.join("current")).unwrap();
    let mut running = place.call(&["run", "current", "--watch", "--events", "-"]).start();
    assert_eq!(next(&mut running), "v1");
    for version in ["v2", "v3"] {
        symlink(format!("versions/{version}"), root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("current")).unwrap();
        assert_eq!(next(&mut running), version);
        place.write(&format!("versions/{version}/in/x"), format!("{version}, edited"));
        assert_eq!(next(&mut running), format!("{version}, edited"));
    }
    running.signal(Signal::INT);
    let _ = running.end();
}

#[test]
fn a_file_that_is_missing_from_the_beginning_is_heard_of_when_it_comes() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\nfile = \"deep/down/a.sh\"\n");
    fs::create_dir(place.project().join("deep")).unwrap();
    let mut running = place.call(&["run", "--watch", "--events", "-"]).start();
    running.until(|event| event["event"] == "watch.waiting");
    place.write("deep/down/a.sh", "echo there");
    assert_eq!(next(&mut running), "there");
    running.signal(Signal::INT);
    let _ = running.end();
}
