//! Secrets reach cells, and nothing that a cell shows or keeps has them: screens, events, records, the store.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up may panic")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use polyloom_test_e2e::{Place, needs};

/// Something to quote, escape and encode in it; longer than a line of base64 in hex.
const SECRET: &str = "t0k3n \"q\" & 'x'/+é%<never-to-be-seen>\\end of it, and still more of it";

/// The base64 of `before + text`, without what `before` and the end alone decide.
fn base64(before: &str, text: &str, letters: &[u8; 64]) -> String {
    let bytes: Vec<u8> = before.bytes().chain(text.bytes()).collect();
    let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let first = (before.len() * 8).div_ceil(6);
    let sixes = first..bytes.len() * 8 / 6;
    let six = |at: usize| (0..6).fold(0, |six, n| six << 1 | bit(at * 6 + n));
    sixes.map(|at| char::from(letters[six(at)])).collect()
}

/// The forms of a secret, written down without a look at how the program makes them.
fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![("raw".to_owned(), secret.as_bytes().to_vec())];
    let mut add = |name: String, form: String| forms.push((name, form.into_bytes()));
    let mut letters = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for alphabet in ["standard", "url"] {
        for before in ["", "x", "xx"] {
            add(format!("base64 {alphabet} {}", before.len()), base64(before, secret, &letters));
        }
        letters[62..].copy_from_slice(b"-_");
    }
    let mut hex = String::new();
    let mut percent = String::new();
    for byte in secret.bytes() {
        let _ = write!(hex, "{byte:02x}");
        match byte {
            b'-' | b'_' | b'.' | b'~' => percent.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => percent.push(char::from(byte)),
            byte => _ = write!(percent, "%{byte:02X}"),
        }
    }
    add("hex".into(), hex.clone());
    add("HEX".into(), hex.to_uppercase());
    add("percent".into(), percent.clone());
    add("form".into(), percent.replace("%20", "+"));
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_matches('"').to_owned();
    add("json ascii".into(), json.replace('é', "\\u00e9"));
    // A record is JSON, which says JSON in JSON.
    add("json".into(), json);
    add("shell".into(), secret.replace('\'', "'\\''"));
    let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    forms.push(("utf-16".into(), wide));
    forms
}

fn holds(bytes: &[u8], form: &[u8]) -> bool {
    bytes.windows(form.len()).any(|window| window == form)
}

/// Asserts that no form of the secret is in `bytes`: as it is, and as JSON quotes the form.
#[track_caller]
fn clean(what: &str, bytes: &[u8], secret: &str) {
    for (name, form) in forms(secret) {
        assert!(
            !holds(bytes, &form),
            "{what} has the secret as {name}: {}",
            String::from_utf8_lossy(bytes)
        );
        let quoted = serde_json::to_string(&String::from_utf8_lossy(&form)).unwrap();
        let quoted = quoted.trim_matches('"').as_bytes();
        assert!(!holds(bytes, quoted), "{what} has the secret as {name}, quoted");
    }
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// Everything that a run leaves: the project's records, the store, the home. Names of files, too.
#[track_caller]
fn nothing_left(place: &Place, secret: &str) -> usize {
    let mut found = Vec::new();
    for folder in [place.project(), place.store(), place.root().join("home")] {
        files(&folder, &mut found);
    }
    for path in &found {
        let name = path.display().to_string();
        clean(&name, name.as_bytes(), secret);
        if name.ends_with("kept-secret") {
            continue;
        }
        clean(&name, &std::fs::read(path).unwrap(), secret);
    }
    found.len()
}

const PYTHON: &str = r#"
import base64, json, os, sys, urllib.parse
import polyloom
t = os.environ["TOKEN"]
b = t.encode()
print(t)
print("on stderr: " + t, file=sys.stderr)
for before in (b"", b"x", b"xx", b"user:"):
    print(base64.b64encode(before + b).decode(), base64.urlsafe_b64encode(before + b + b"!").decode())
print(base64.encodebytes(b * 3).decode())
print(b.hex(), b.hex().upper(), base64.b16encode(b))
print(urllib.parse.quote(t), urllib.parse.quote(t, safe=""), urllib.parse.quote_plus(t))
print("".join(f"%{x:02x}" for x in b))
print(json.dumps(t), json.dumps({"k": [t]}, ensure_ascii=False), repr(t), repr(b))
sys.stdout.flush()
for at in range(len(b)):
    sys.stdout.buffer.write(b[at:at + 1])
    sys.stdout.flush()
sys.stdout.buffer.write(b"\n" + t.encode("utf-16-le") + t.encode("utf-16-be"))
polyloom.log("logged " + t, "warn")
polyloom.log(base64.b64encode(b).decode())
polyloom.progress(0.5, "half of " + t)
polyloom.display(t)
polyloom.display({"a": b, t: 1})
class Page:
    def _repr_html_(self):
        import html
        return "<p>" + html.escape(t) + "</p>"
polyloom.display(Page())
"#;

const SHELL: &str = r#"
printf '%s\n' "$TOKEN"
printf '%s' "$TOKEN" | base64
printf '%s' "$TOKEN" | base64 -w 0
printf 'x%s' "$TOKEN" | base64 -w 20 >&2
printf '%s' "$TOKEN" | od -An -v -tx1 | tr -d ' \n'
printf '%q\n' "$TOKEN"
printf 'x=%s' "$TOKEN" | head -c 30
"#;

const C: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int main(void) {
  const char *t = getenv("TOKEN");
  setvbuf(stdout, NULL, _IONBF, 0);
  for (const char *c = t; *c; c++) putchar(*c);
  putchar('\n');
  for (const char *c = t; *c; c++) printf("%02x", (unsigned char)*c);
  putchar('\n');
  for (const char *c = t; *c; c++) fprintf(stderr, "%%%02X", (unsigned char)*c);
  return 0;
}
"#;

const JAVASCRIPT: &str = r#"
const t = process.env.TOKEN;
console.log(t, JSON.stringify(t), [t], encodeURIComponent(t), escape(t));
console.error(Buffer.from(t).toString("base64"), Buffer.from(t).toString("hex"));
console.log(Buffer.from("a" + t).toString("base64url"), new URLSearchParams({ t }).toString());
polyloom.log(t);
polyloom.progress(0.1, t);
polyloom.display({ t });
"#;

fn flow(key: &str) -> String {
    let mut text = String::new();
    let cells = [
        ("python", "python", PYTHON),
        ("shell", "bash", SHELL),
        ("c", "c", C),
        ("javascript", "javascript", JAVASCRIPT),
        ("python-raises", "python", "import os\nraise ValueError('no ' + os.environ['TOKEN'])"),
        (
            "python-asserts",
            "python",
            "import os\nx = {'k': os.environ['TOKEN']}\nassert x == {}, x",
        ),
        ("javascript-throws", "javascript", "throw new Error(`no ${process.env.TOKEN}`);"),
        ("shell-fails", "bash", "echo \"$TOKEN: no such thing\" >&2; exit 3"),
        ("shell-names", "bash", "touch \"$OUT/$(printf %s \"$TOKEN\" | base64 -w0 | tr / _)\""),
    ];
    for (name, lang, code) in cells {
        let quotes = "'''";
        let outputs = if name == "shell-names" { "outputs = { x = \"int\" }\n" } else { "" };
        let _ = write!(
            text,
            "[cells.{name}]\nlang = \"{lang}\"\n{outputs}{key}\ncode = {quotes}{code}{quotes}\n\n"
        );
    }
    text
}

#[test]
fn a_secret_is_nowhere_in_what_cells_show_in_any_language() {
    needs!("python3", "bash", "gcc", "node", "base64", "od");
    let place = Place::flow(&flow("secrets = { TOKEN = \"env:API_TOKEN\" }"));
    let call = |args: &[&str]| place.call(args).env("API_TOKEN", SECRET).end();
    for args in [
        &["run", "-A", "-k", "--events", "events.jsonl"][..],
        &["run", "-A", "-k", "-F", "--format", "json"],
        &["run", "-A", "-k", "-F", "--events", "-"],
    ] {
        let ended = call(args);
        assert!([1, 5].contains(&ended.code()), "{}", ended.screen());
        clean("stdout", ended.bytes(), SECRET);
        clean("stderr", ended.stderr().as_bytes(), SECRET);
    }
    let told = place.polyloom(&["logs", "latest", "python"]).exits(0);
    assert!(told.stdout().contains("***"), "{}", told.screen());
    for args in [
        &["logs", "latest"][..],
        &["show", "latest"],
        &["why", "python"],
        &["plan"],
        &["replay", "latest"],
        &["graph"],
    ] {
        let ended = call(args);
        clean("stdout", ended.bytes(), SECRET);
        clean("stderr", ended.stderr().as_bytes(), SECRET);
    }
    assert!(nothing_left(&place, SECRET) > 10);
}

#[test]
fn without_secrets_the_same_cells_do_show_it() {
    needs!("python3", "bash", "gcc", "node", "base64", "od");
    let place = Place::flow(&flow("env = { TOKEN = '''API''' }").replace("API", SECRET));
    let _ = place.run(&["-k", "--events", "events.jsonl"]);
    let text = place.read("events.jsonl");
    let mut seen: Vec<String> = Vec::new();
    for (name, form) in forms(SECRET) {
        let quoted = serde_json::to_string(&String::from_utf8_lossy(&form)).unwrap();
        if text.contains(quoted.trim_matches('"')) {
            seen.push(name);
        }
    }
    let all: Vec<String> = forms(SECRET).into_iter().map(|(name, _)| name).collect();
    // The shell's quoting and the wide form are lost in the words around them.
    let missing: Vec<&String> = all.iter().filter(|name| !seen.contains(name)).collect();
    assert!(missing.iter().all(|name| ["shell", "utf-16"].contains(&name.as_str())), "{missing:?}");
}

#[test]
fn every_cell_gets_its_secret_whole() {
    needs!("python3", "bash", "gcc", "node");
    let place = Place::new();
    place.write("kept-secret", format!("{SECRET}\n"));
    let length = SECRET.len();
    let flow = r#"
[cells.python]
lang = "python"
secrets = { TOKEN = "env:API_TOKEN", KEY = "file:kept-secret" }
outputs = { n = "list<int>" }
code = '''
import os
n = [len(os.environ["TOKEN"].encode()), len(os.environ["KEY"].encode())]
'''
[cells.shell]
lang = "bash"
secrets = { TOKEN = "cmd:cat kept-secret" }
outputs = { n = "int" }
code = 'printf %s "$TOKEN" | wc -c > $OUT/n'
[cells.c]
lang = "c"
secrets = { TOKEN = "file:~/key" }
outputs = { n = "int" }
code = '''
#include <polyloom.h>
#include <stdlib.h>
#include <string.h>
int main(void) { pl_out_int("n", (int64_t)strlen(getenv("TOKEN"))); return 0; }
'''
[cells.javascript]
lang = "javascript"
secrets = { TOKEN = "env:API_TOKEN" }
outputs = { n = "int" }
code = 'const n = Buffer.from(process.env.TOKEN).length;'
"#;
    place.write("polyloom.toml", flow);
    std::fs::write(place.root().join("home/key"), SECRET).unwrap();
    let run = place
        .call(&["run", "-A", "--allow-cmd=cat kept-secret", "--format", "json"])
        .env("API_TOKEN", SECRET)
        .end()
        .run()
        .exits(0);
    for (cell, expected) in [
        ("python", format!("[{length},{length}]")),
        ("shell", length.to_string()),
        ("c", length.to_string()),
        ("javascript", length.to_string()),
    ] {
        let shown = place.polyloom(&["show", "latest", &format!("{cell}.n")]).exits(0).stdout();
        let shown: String =
            shown.lines().skip(1).flat_map(str::chars).filter(|c| *c != ' ').collect();
        assert_eq!(shown, expected, "{cell}\n{}", run.stderr);
    }
    // Another value is the same handle: nothing to do.
    let run = place
        .call(&["run", "-A", "--allow-cmd=cat kept-secret", "--format", "json"])
        .env("API_TOKEN", "another one")
        .end()
        .run()
        .exits(0);
    assert_eq!(run.ran(), Vec::<String>::new());
    // Another handle is a change.
    place.edit("polyloom.toml", "file:~/key", "file:kept-secret");
    let plan = place.call(&["plan", "-A", "--allow-cmd=cat kept-secret"]);
    let plan = plan.env("API_TOKEN", "another one").end().exits(0).stdout();
    assert!(plan.contains("secret TOKEN changed (file:~/key → file:kept-secret)"), "{plan}");
    std::fs::remove_file(place.root().join("home/key")).unwrap();
}

/// One cell that ends as `denied`, and nothing of whose is in the store.
#[track_caller]
fn denied(lang: &str, keys: &str, code: &str, told: &str) {
    let quotes = "'''";
    let place = Place::flow(&format!(
        "[cells.a]\nlang = \"{lang}\"\nsecrets = {{ TOKEN = \"env:API_TOKEN\" }}\n{keys}\ncode = {quotes}{code}{quotes}\n"
    ));
    let ended =
        place.call(&["run", "--allow-env", "--format", "json"]).env("API_TOKEN", SECRET).end();
    let run = ended.run().exits(1);
    assert_eq!(run.outcome("a"), "denied", "{}", run.stderr);
    assert!(run.messages("a").contains(told), "{}", run.messages("a"));
    assert!(run.messages("a").contains("the secret `TOKEN`"), "{}", run.messages("a"));
    clean("stderr", run.stderr.as_bytes(), SECRET);
    clean("document", run.document.to_string().as_bytes(), SECRET);
    let _ = nothing_left(&place, SECRET);
    let mut blobs = Vec::new();
    files(&place.store().join("blobs"), &mut blobs);
    // Python's bytecode, which is made for later runs meanwhile, is no output: two bytes of a version, and the end of a line.
    let is_bytecode = |bytes: Vec<u8>| bytes.get(2..4) == Some(b"\r\n");
    blobs.retain(|blob| !is_bytecode(std::fs::read(blob).unwrap()));
    assert_eq!(blobs, Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_output_that_holds_a_secret_is_not_kept() {
    needs!("python3", "bash", "base64");
    let file = "outputs = { x = \"file\" }";
    let one = "output `x` of cell `a` holds the secret `TOKEN` (as it is), so nothing was kept";
    denied("bash", file, "printf %s \"$TOKEN\" > $OUT/x.txt", one);
    let base64 = "(as base64), so nothing was kept";
    denied(
        "bash",
        file,
        "{ head -c 300000 /dev/zero; printf %s \"$TOKEN\" | base64; } > $OUT/x",
        base64,
    );
    denied("bash", "outputs = { x = \"str\" }", "printf %s \"$TOKEN\" > $OUT/x", one);
    // What does not even fit its type says nothing of its content.
    denied("bash", "outputs = { x = \"int\" }", "printf %s \"$TOKEN\" > $OUT/x", one);
    let dir = "outputs = { x = \"dir\" }";
    denied("bash", dir, "mkdir -p $OUT/x/d; printf %s \"$TOKEN\" > $OUT/x/d/f", one);
    let name = "mkdir -p $OUT/x; touch \"$OUT/x/$(printf %s \"$TOKEN\" | base64 -w0 | tr /+ _-)\"";
    denied("bash", dir, name, base64);
    let python = |value: &str| format!("import os, polyloom\nt = os.environ['TOKEN']\n{value}\n");
    let any = "outputs = { x = \"any\" }";
    denied("python", any, &python("x = {'a': [t]}"), one);
    denied("python", any, &python("x = {t: 1}"), one);
    denied("python", any, &python("x = [t.encode()]"), one);
    let tensor = "outputs = { x = \"tensor<u8>\" }";
    denied(
        "python",
        tensor,
        &python(
            "x = polyloom.empty((200,), 'u8')\nm = memoryview(x).cast('B')\nm[7:7+len(t.encode())] = t.encode()",
        ),
        one,
    );
    denied(
        "python",
        "",
        &python("polyloom.artifact('extra.txt', 'x' + t)"),
        "artifact `extra.txt` of cell `a` holds the secret `TOKEN` (as it is)",
    );
}

#[test]
fn a_secret_that_can_not_be_had_fails_the_cell_and_says_why() {
    let place = Place::new();
    place.write("short", "abc");
    place.write("broken", "not to be run");
    let fifo = place.project().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let cases = [
        ("unset", "env:NOT_THERE", "the environment variable `NOT_THERE` is not set"),
        ("fifo", "file:fifo", "is not a regular file"),
        ("short", "file:short", "shorter than 4 bytes"),
        (
            "failing",
            "cmd:sh -c 'echo the reason >&2; exit 7'",
            "`sh` gave none (exit code 7): the reason",
        ),
        ("broken", "cmd:./broken", "`./broken` could not be started"),
    ];
    let mut flow = String::new();
    for (name, handle, _) in cases {
        let _ = write!(
            flow,
            "[cells.{name}]\nlang = \"sh\"\nsecrets = {{ TOKEN = \"{handle}\" }}\ncode = 'echo ran'\n"
        );
    }
    place.write("polyloom.toml", flow);
    let commands = ["--allow-cmd=sh -c 'echo the reason >&2; exit 7'", "--allow-cmd=./broken"];
    let run = place.run(&[&["-k", "-A"], &commands[..]].concat()).exits(1);
    for (name, _, told) in cases {
        assert_eq!(run.outcome(name), "failed");
        let messages = run.messages(name);
        assert!(messages.contains(told), "{messages}");
        assert!(messages.contains(&format!("cell `{name}`: secret `TOKEN`")), "{messages}");
        assert!(run.cell(name)["exit_code"].is_null(), "it ran: {}", run.cell(name));
    }
    // Looking and planning read no secret: the FIFO would block, the programs would run.
    assert_eq!(place.polyloom(&["check"]).code(), 0);
    assert_eq!(place.polyloom(&["plan"]).code(), 0);
}

#[test]
fn a_program_that_hangs_is_ended_with_the_run() {
    let place = Place::flow(
        "[cells.a]\nlang = \"sh\"\nsecrets = { TOKEN = \"cmd:sh -c 'echo here > began; sleep 600 & sleep 600'\" }\ncode = 'echo ran'\n",
    );
    let command = "--allow-cmd=sh -c 'echo here > began; sleep 600 & sleep 600'";
    let running = place.call(&["run", command]).start();
    let began = place.project().join("began");
    assert!(polyloom_test_e2e::eventually(Duration::from_secs(60), || began.exists()));
    running.signal(rustix::process::Signal::INT);
    let ended = running.end().exits(130);
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    let gone = || place.processes().is_empty();
    assert!(
        polyloom_test_e2e::eventually(Duration::from_secs(10), gone),
        "{:?}",
        place.processes()
    );
}

#[test]
fn a_cell_without_secrets_pays_nothing_and_hides_nothing() {
    let place = Place::flow("[cells.a]\nlang = \"sh\"\ncode = 'echo $API_TOKEN-visible'\n");
    let ended = place.call(&["run"]).env("API_TOKEN", SECRET).end().exits(0);
    assert!(ended.stderr().contains("-visible"), "{}", ended.screen());
    assert!(!ended.stderr().contains("***"));
}

#[test]
fn where_a_secret_comes_from_has_to_be_granted() {
    let place = Place::new();
    place.write("kept-secret", SECRET);
    let ran = place.project().join("ran");
    for (handle, grant, others) in [
        ("env:API_TOKEN", "--allow-env=API_TOKEN", &["--allow-read", "--allow-run"][..]),
        ("file:kept-secret", "--allow-read=kept-secret", &["--allow-env", "--allow-read=other"]),
        (
            "cmd:sh -c 'touch ran; cat kept-secret'",
            "--allow-cmd=sh -c 'touch ran; cat kept-secret'",
            // A program inside of a sandbox is another thing than a command on the host.
            &["-A", "--allow-run=sh", "--allow-cmd=sh", "--allow-cmd=sh -c 'touch ran; cat other'"],
        ),
    ] {
        place.write(
            "polyloom.toml",
            format!("[cells.a]\nlang = \"sh\"\nsecrets = {{ TOKEN = \"{handle}\" }}\ncode = 'test -n \"$TOKEN\"'\n"),
        );
        let run = |args: &[&str]| {
            let words = [&["run", "-f", "--format", "json"], args].concat();
            place.call(&words).env("API_TOKEN", SECRET).end()
        };
        for other in others {
            assert_eq!(run(&[other]).run().outcome("a"), "denied", "{handle} {other}");
        }
        let refused = run(&[]);
        let told = refused.stderr();
        assert!(told.contains("secret TOKEN from"), "{told}");
        assert!(!ran.exists());
        assert_eq!(run(&[grant]).run().outcome("a"), "ok", "{handle}");
        let denials = ["--deny-env", "--deny-read", "--deny-run"];
        assert_eq!(
            run(&[&[grant], &denials[..]].concat()).run().outcome("a"),
            "denied",
            "{handle}"
        );
        assert_eq!(run(&[grant, "--policy=strict"]).run().outcome("a"), "denied", "{handle}");
    }
    assert!(ran.exists());
}

/// A flow of one cell with one secret and another that asks for a folder to write.
fn beside_a_writer(handle: &str) -> Place {
    let place = Place::flow(&format!(
        "[cells.a]\nlang = \"sh\"\nsecrets = {{ TOKEN = \"{handle}\" }}\ncode = 'test -n \"$TOKEN\"'\n\
         [cells.writer]\nlang = \"sh\"\nallow = {{ write = [\"made\"] }}\ncode = 'true'\n"
    ));
    place.write("made/.keep", "");
    place
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_command_that_a_cell_can_change_gives_no_secret() {
    for (command, granted) in [
        ("made/tool", false),
        ("sh made/tool", false),
        ("env --chdir=made sh tool", false),
        ("sh linked", false),
        ("./linked", false),
        ("sh kept/tool", true),
        ("kept/tool", true),
    ] {
        let place = beside_a_writer(&format!("cmd:{command}"));
        let script = "#!/bin/sh\ntouch \"$(dirname \"$0\")/../ran\"\necho never-to-be-seen\n";
        place.write("kept/.keep", "");
        executable(&place.project().join("made/tool"), script);
        executable(&place.project().join("kept/tool"), script);
        std::os::unix::fs::symlink("made/tool", place.project().join("linked")).unwrap();
        let run = place.run(&["-k", "-A", &format!("--allow-cmd={command}")]);
        let expected = if granted { "ok" } else { "denied" };
        assert_eq!(run.outcome("a"), expected, "{command}: {}", run.stderr);
        assert_eq!(run.outcome("writer"), "ok", "{command}: {}", run.stderr);
        assert_eq!(place.project().join("ran").exists(), granted, "{command}");
        assert!(granted || run.messages("a").contains("can be changed by a cell"), "{command}");
    }
}

#[test]
fn a_secret_that_is_not_there_is_refused_before_anything_runs() {
    for (handle, told) in [
        ("file:nothing", "No such file"),
        ("cmd:no-such-program", "there is no program `no-such-program` on PATH"),
    ] {
        let place = beside_a_writer(handle);
        let run = place.run(&["-k", "-A", "--allow-cmd=no-such-program"]).exits(5);
        assert_eq!(run.outcome("a"), "denied", "{}", run.stderr);
        assert!(run.messages("a").contains(told), "{}", run.messages("a"));
        assert!(run.messages("a").contains(&format!("secret TOKEN from {handle}")));
    }
}

#[test]
fn what_takes_the_place_of_a_secret_s_source_is_not_taken_for_it() {
    // The first cell stands still until the source was swapped; the second has the secret.
    let swap = |handle: &str, change: &dyn Fn(&Path)| {
        let place = Place::flow(&format!(
            "[cells.first]\nlang = \"sh\"\nallow = {{ write = [\"made\"] }}\noutputs = {{ x = \"int\" }}\n\
             code = 'touch made/began; while test ! -e made/go; do sleep 0.05; done; echo 1 > $OUT/x'\n\
             [cells.a]\nlang = \"sh\"\nsecrets = {{ TOKEN = \"{handle}\" }}\ninputs = {{ x = \"first.x\" }}\n\
             code = 'test -n \"$TOKEN\"'\n"
        ));
        place.write("made/.keep", "");
        place.write("keys/key", "the granted one");
        place.write("other/key", SECRET);
        executable(&place.project().join("tool"), "#!/bin/sh\necho the granted one\n");
        let project = place.project();
        let running = place
            .call(&["run", "-A", "--allow-cmd=./tool", "--allow-cmd=sh tool", "--format", "json"])
            .start();
        let began = project.join("made/began");
        assert!(polyloom_test_e2e::eventually(Duration::from_secs(60), || began.exists()));
        change(&project);
        place.write("made/go", "");
        let ended = running.end();
        clean("stdout", ended.bytes(), SECRET);
        let run = ended.run();
        (run.outcome("a").to_owned(), run.messages("a"))
    };
    assert_eq!(swap("file:keys/key", &|_| ()).0, "ok");
    assert_eq!(swap("cmd:./tool", &|_| ()).0, "ok");
    let rename = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |project: &Path| std::fs::rename(project.join(&from), project.join(&to)).unwrap()
    };
    let (outcome, told) = swap("file:keys/key", &rename("other/key", "keys/key"));
    assert!(outcome == "failed" && told.contains("was replaced since it was granted"), "{told}");
    for linked in ["keys", "keys/key"] {
        let (outcome, told) = swap("file:keys/key", &|project| {
            std::fs::rename(project.join(linked), project.join("away")).unwrap();
            let to = project.join(linked.replace("keys", "other"));
            std::os::unix::fs::symlink(to, project.join(linked)).unwrap();
        });
        assert!(outcome == "failed" && told.contains("a link leads elsewhere"), "{told}");
    }
    for command in ["./tool", "sh tool"] {
        let (outcome, told) = swap(&format!("cmd:{command}"), &|project| {
            executable(&project.join("tool"), "#!/bin/sh\necho another one\n");
        });
        assert!(
            outcome == "failed" && told.contains("was replaced since it was granted"),
            "{told}"
        );
    }
}
