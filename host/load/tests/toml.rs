//! A TOML flow becomes the model.
#![allow(clippy::unwrap_used)]

mod support;

use polyloom_load::Root;
use polyloom_model::{Source, Stdin, Value};
use support::check;

const WEATHER: &str = r#"
[flow]
name = "weather"
requires = ">=0.1"
[params.year]
type = "int"
default = 2012
[params]
title = "Rain"

[executors.python]
python = ".venv/bin/python"

[defaults]
timeout = "1m"
retries = 2

[cells.load]
lang = "python"
file = "load.py"
inputs = { csv = "file:data/weather.csv", year = "param:year", all = "file:data" }
outputs = { temps = "tensor<f64,[n]>", days = "list<int>" }

[cells.stats]
lang = "c"
code = '''
int main(void) {
  return 0;
}
'''
inputs = { temps = "load.temps", days = { from = "load.days", type = "list<float>" }, k = 5, w = [1, 2.5] }
params = { title = "plain" }
outputs = { mean = "float" }
timeout = "5s"
memory = "256MiB"
stdin = { input = "title" }
env = { MODE = "fast" }
cache = false
seed = 7
tags = ["slow"]
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/weather.csv"), "a,b\n").unwrap();
    std::fs::write(folder.path().join("load.py"), "print(1)\n").unwrap();
    std::fs::create_dir_all(folder.path().join(".venv/bin")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", folder.path().join(".venv/bin/python")).unwrap();
    folder
}

#[test]
fn a_whole_flow_is_understood() {
    let folder = folder();
    let root = Root::open(folder.path()).unwrap();
    let loaded = check("weather.flow.toml", WEATHER, Some(&root));
    assert!(loaded.report.is_empty(), "{}", polyloom_load::render(&loaded.report, false, 100));
    let flow = loaded.flow.unwrap();
    assert_eq!(flow.name, "weather");
    assert_eq!(flow.tools[0].program, std::path::Path::new(".venv/bin/python"));
    let [load, stats] = flow.cells.as_slice() else { panic!() };
    assert_eq!((load.id.as_str(), load.executor.as_str()), ("load", "python"));
    assert_eq!((load.code.name.as_str(), &*load.code.bytes), ("load.py", &b"print(1)\n"[..]));
    assert_eq!(load.code.origin.first_line, 1);
    assert_eq!(load.inputs["csv"].ty.to_string(), "file");
    assert_eq!(load.inputs["all"].ty.to_string(), "dir");
    assert_eq!(load.inputs["year"].ty.to_string(), "int");
    assert_eq!((load.limits.timeout.as_secs(), load.retries.count, load.limits.pids), (60, 2, 256));

    assert_eq!(stats.code.name, "stats.c");
    assert_eq!(*stats.code.origin.path, *std::path::Path::new("weather.flow.toml"));
    let line = WEATHER.lines().position(|line| line.starts_with("int main")).unwrap() + 1;
    assert_eq!(stats.code.origin.first_line as usize, line);
    assert_eq!(stats.inputs["days"].ty.to_string(), "list<float>");
    assert_eq!(stats.inputs["w"].ty.to_string(), "list<float>");
    assert_eq!(stats.inputs["k"].source, Source::Value(Value::Int(5)));
    assert_eq!(stats.inputs["title"].source, Source::Value(Value::Str("plain".into())));
    assert_eq!(stats.stdin, Some(Stdin::Input("title".parse().unwrap())));
    assert_eq!((stats.limits.timeout.as_secs(), stats.limits.memory), (5, 256 << 20));
    assert!(!stats.cache && stats.seed == Some(7) && stats.env["MODE"] == "fast");
}

#[test]
fn the_manifests_limits_are_below_the_flows() {
    let text =
        "[cells.a]\nlang = 'bash'\ncode = 'true'\n[cells.b]\nlang = 'bash'\ncode = ''\npids = 3";
    let flow = check("x.toml", text, None).flow.unwrap();
    assert_eq!((flow.cells[0].limits.pids, flow.cells[1].limits.pids), (64, 3));
    assert_eq!((flow.name.as_str(), flow.cells[0].executor.as_str()), ("x", "shell"));
}

#[test]
fn retries_are_a_number_or_a_table_that_sets_their_delays() {
    let text =
        |retries: &str| format!("[cells.a]\nlang = 'python'\ncode = ''\nretries = {retries}\n");
    let read = |retries: &str| {
        let loaded = check("x.toml", &text(retries), None);
        assert!(loaded.report.is_empty(), "{retries}: {:?}", loaded.report.problems);
        let retries = loaded.flow.unwrap().cells[0].retries;
        let millis = |failed| retries.delay(failed).as_millis();
        (retries.count, [millis(1), millis(2), millis(3), millis(99)])
    };
    assert_eq!(read("3"), (3, [1000, 2000, 4000, 60_000]));
    assert_eq!(read("{ count = 2 }"), read("2"));
    assert_eq!(
        read("{ count = 5, delay = '100ms', factor = 1.5, max_delay = '1s' }"),
        (5, [100, 150, 225, 1000])
    );
    assert_eq!(read("{ count = 1, delay = '0s' }"), (1, [0, 0, 0, 0]));
    assert_eq!(read("{ count = 1, delay = '2m' }"), (1, [120_000; 4]));
    for (bad, why) in [
        ("{ delay = '1s' }", "`retries` has no `count`"),
        ("{ count = 101 }", "`count` is 101, out of range"),
        ("{ count = 1, delay = 3 }", "`delay` needs a unit"),
        ("{ count = 1, factor = 0.5 }", "`factor` is 0.5, out of range"),
        ("{ count = 1, delay = '2m', max_delay = '1m' }", "`max_delay` is less than `delay`"),
        ("{ count = 1, dely = '2m' }", "unknown key `dely`"),
    ] {
        let problems = check("x.toml", &text(bad), None).report.problems;
        let told: Vec<String> = problems.iter().map(|it| format!("{it:?}")).collect();
        assert!(told.iter().any(|told| told.contains(why)), "{bad}: {told:?}");
    }
}

#[test]
fn columns_are_those_of_the_file_where_the_code_stands_in_it_as_it_is() {
    let code = |text: &str| {
        let loaded =
            check("polyloom.toml", &format!("[cells.x]\nlang = \"python\"\n{text}\n"), None);
        let origin = loaded.flow.unwrap().cells[0].code.origin.clone();
        (origin.first_line, origin.indent)
    };
    assert_eq!(code("code = \"nix\""), (3, Some(8)));
    assert_eq!(code("code = 'é' # code"), (3, Some(8)));
    assert_eq!(code("  code='nix'"), (3, Some(8)));
    assert_eq!(code("code = \"\"\"nix\nnix\"\"\""), (3, Some(10)));
    assert_eq!(code("code = \"\"\"\nnix\n\"\"\""), (4, Some(0)));
    assert_eq!(code("code = '\"\"'"), (3, Some(8)));
    assert_eq!(code("code = \"f(\\\"x\\\")\""), (3, None));
}
