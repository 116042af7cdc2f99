//! What plain programs say beside what they print: `POLYLOOM_SAY` and `polyloom.h`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_test_e2e::{Place, needs};
use serde_json::Value;

/// The events of a run, as lines of JSON.
fn events(place: &Place, args: &[&str]) -> Vec<Value> {
    let out = place.polyloom(&[&["run", "--format", "jsonl"], args].concat()).stdout();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'e>(events: &'e [Value], cell: &str, kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == kind && event["cell"] == cell).collect()
}

#[test]
fn a_script_logs_shows_and_keeps() {
    let place = Place::flow(
        r#"[cells.a]
lang = "shell"
code = '''
echo "progress 0.25 a quarter" >&$POLYLOOM_SAY
echo "log warn careful" > /dev/fd/$POLYLOOM_SAY
echo "display text/html <b>hi</b>" >&$POLYLOOM_SAY
echo kept > $OUT/notes.txt
echo "artifact notes notes.txt" >&$POLYLOOM_SAY
echo "artifact gone gone.txt" >&$POLYLOOM_SAY
echo "artifact out ../../etc/passwd" >&$POLYLOOM_SAY
printf 'log info the last' >&$POLYLOOM_SAY
'''
"#,
    );
    let events = events(&place, &[]);
    assert_eq!(of(&events, "a", "progress")[0]["fraction"], 0.25);
    assert_eq!(of(&events, "a", "display")[0]["text"], "<b>hi</b>");
    let logs = of(&events, "a", "log");
    assert_eq!((&logs[0]["stream"], &logs[0]["text"]), (&"warn".into(), &"careful".into()));
    assert_eq!(logs[1]["text"], "the last");
    let finished = of(&events, "a", "step.finished")[0];
    assert_eq!(finished["meta"]["outcome"], "ok");
    let kept: Vec<&String> = finished["meta"]["artifacts"].as_object().unwrap().keys().collect();
    assert_eq!(kept, ["notes"]);
    let told = finished["meta"]["diagnostics"].to_string();
    assert!(told.contains("artifact `gone` was left out"), "{told}");
    assert!(
        told.contains("names no file below $OUT") || told.contains("artifact `out` was left out"),
        "{told}"
    );
    assert_eq!(of(&events, "a", "diagnostic").len(), 2, "they are told while it runs");
}

#[test]
fn a_flood_of_words_counts_as_output_and_rubbish_is_told_once() {
    let place = Place::flow(
        r#"[cells.flood]
lang = "shell"
output_limit = "1MiB"
code = 'while :; do echo "log info xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; done >&$POLYLOOM_SAY'
[cells.rubbish]
lang = "shell"
code = 'head -c 300000 /dev/urandom >&$POLYLOOM_SAY'
[cells.deaf]
lang = "shell"
code = 'exec 3>&-; echo well'
"#,
    );
    let events = events(&place, &["-k"]);
    let outcome = |cell: &str| of(&events, cell, "step.finished")[0]["meta"]["outcome"].clone();
    assert_eq!(outcome("flood"), "output_exceeded");
    assert_eq!((outcome("rubbish"), outcome("deaf")), ("ok".into(), "ok".into()));
    assert_eq!(of(&events, "rubbish", "diagnostic").len(), 4, "three, and how many more");
}

#[test]
fn secrets_are_hidden_in_words() {
    let place = Place::flow(
        "[cells.a]\nlang = \"shell\"\nsecrets = { TOKEN = \"env:MY_TOKEN\" }\ncode = '''\n\
         echo \"log info $TOKEN\" >&$POLYLOOM_SAY\necho \"progress 0.5 $TOKEN\" >&$POLYLOOM_SAY\n\
         echo \"display text/plain $TOKEN\" >&$POLYLOOM_SAY\n\
         echo \"display text/plain;base64 $(printf '<%s>' \"$TOKEN\" | base64)\" >&$POLYLOOM_SAY\necho \"$TOKEN\" >&$POLYLOOM_SAY\n'''\n",
    );
    let call = place.call(&["run", "--format", "jsonl", "--allow-env"]);
    let ended = call.env("MY_TOKEN", "hunter2-hunter2").end().exits(0);
    let all = ended.stdout() + &ended.stderr();
    assert!(!all.contains("hunter2"), "{all}");
    assert_eq!(all.matches("\"event\":\"display\"").count(), 2, "{all}");
}

#[test]
fn c_and_cpp_say_it_by_functions() {
    needs!("gcc", "g++");
    let code = r#"
#include <polyloom.h>
#include <stdio.h>
int main(void) {
  char path[512];
  FILE *file;
  pl_log("one %d\ntwo", 1);
  pl_warn("careful");
  pl_progress(0.5, "half\ndone");
  pl_progress(-1, NULL);
  pl_display("text/plain", "hi", 2);
  pl_display("application/octet-stream", "\0\1\2\377", 4);
  snprintf(path, sizeof path, "%s/notes.txt", pl_out_dir_root());
  file = fopen(path, "w");
  if (!file || fputs("kept", file) < 0 || fclose(file)) return 1;
  pl_artifact("notes", "notes.txt");
  return 0;
}
"#;
    let flow = ["c", "cpp"]
        .map(|lang| format!("[cells.{lang}]\nlang = \"{lang}\"\ncode = '''{code}'''\n"));
    let place = Place::flow(&flow.concat());
    let events = events(&place, &[]);
    for lang in ["c", "cpp"] {
        let finished = of(&events, lang, "step.finished")[0];
        assert_eq!(finished["meta"]["outcome"], "ok", "{finished}");
        assert!(finished["meta"]["artifacts"]["notes"].is_object(), "{finished}");
        assert_eq!(finished["meta"]["diagnostics"], serde_json::json!([]), "{finished}");
        let progress = of(&events, lang, "progress");
        assert_eq!(
            (&progress[0]["fraction"], &progress[0]["text"]),
            (&0.5.into(), &"half done".into())
        );
        assert_eq!(progress[1]["fraction"], Value::Null);
        assert_eq!(of(&events, lang, "display")[0]["text"], "hi");
        let logs: String = of(&events, lang, "log")
            .iter()
            .map(|it| format!("{} {};", it["stream"], it["text"]))
            .collect();
        assert!(
            logs.contains("one 1") && logs.contains("two") && logs.contains("\"warn\" \"careful\""),
            "{logs}"
        );
    }
}
