//! Cases that are tried by a conversation in which the kit is the host. Knows no language but by its codes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polyloom_model::{PortName, Type};
use polyloom_protocol::frame::{HEADER, Header, PREAMBLE, flag};
use polyloom_protocol::messages::host::{
    Cancel, Complete, Credit, Describe, Exec, Forget, HelloNo, Load, Ping, Prepare, Reset, Restore,
    Save, Shutdown, Snapshot,
};
use polyloom_protocol::{FromHost, FromWorker, Severity, Value};
use polyloom_sandbox::Exit;

use crate::bench::{Bench, Check, quoted};
use crate::declares;
use crate::line::{Agree, Heard, Line, exit_words};

/// A kind of the host's that version 1 does not have.
const UNKNOWN: u8 = 120;
/// What a cancelled cell is given.
const GRACE: Duration = Duration::from_secs(2);
/// A worker that says nothing for so long is waiting for credit.
const SILENCE: Duration = Duration::from_millis(500);

fn frame(kind: u8, flags: u8, exec: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&Header { length, kind, flags, exec }.to_bytes()[..], body].concat()
}

pub fn greeting(bench: &Bench<'_>) -> Check {
    let mut line = Line::open(bench, &[])?;
    line.hello(Agree::All)?;
    match line.printed() {
        printed if printed.is_empty() => Ok(()),
        printed => Err(line.got(format!("printed {} on standard output", quoted(&printed)))),
    }
}

pub fn done(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    line.run_well("hello")?;
    // Whatever is said twice comes before the answer to this.
    alive(&mut line, u64::MAX)
}

/// Asks for a sign of life, before which nothing else may come.
fn alive(line: &mut Line<'_>, n: u64) -> Check {
    line.say(0, &FromHost::Ping(Ping { n }))?;
    match line.hear()? {
        (_, FromWorker::Pong(pong)) if pong.n == n => Ok(()),
        (_, FromWorker::Pong(pong)) => Err(line.got(format!("Pong {} for Ping {n}", pong.n))),
        (exec, message) => {
            Err(line.got(format!("`{}` for exec {exec} came after its Done", message.name())))
        }
    }
}

pub fn second_exec(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    for exec in [7, 1 << 40] {
        line.exec("hello", exec)?;
        let heard = line.done(exec)?;
        line.well(&heard)?;
    }
    // What a cell printed may be held back as long as the process is there.
    line.say(0, &FromHost::Shutdown(Shutdown { grace_ms: 2000 }))?;
    line.gone()?;
    match line.printed() {
        printed if printed == "hello\nhello\n" => Ok(()),
        printed => Err(line.got(format!("printed {}", quoted(&printed)))),
    }
}

pub fn unknown_key(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    let message = line.message("hello");
    let Ok(mut bytes) = message.encode(1) else { return Err(line.got("the kit's mistake")) };
    // One more key at the end of the map: its count, its length and the key itself.
    bytes[HEADER] += 1;
    bytes.extend_from_slice(b"\xa8tomorrow\x93\x01\x02\x03");
    let length = u32::try_from(bytes.len() - HEADER).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    line.asked(1, &message)?;
    line.raw(&bytes);
    let heard = line.done(1)?;
    line.well(&heard)
}

pub fn unknown_kind(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    line.raw(&frame(UNKNOWN, 0, 0, b"\x81\xa8tomorrow\xc3"));
    line.run_well("hello").map(drop)
}

pub fn split(bench: &Bench<'_>) -> Check {
    let mut line = Line::open(bench, &["hello"])?;
    let answer = FromHost::HelloOk(line.hello(Agree::All)?);
    let message = line.message("hello");
    line.asked(0, &answer)?;
    line.asked(1, &message)?;
    let (Ok(answer), Ok(exec)) = (answer.encode(0), message.encode(1)) else {
        return Err(line.got("the kit's mistake"));
    };
    for bytes in [&PREAMBLE[..], &answer, &exec] {
        line.dribble(bytes);
    }
    let heard = line.done(1)?;
    line.well(&heard)
}

pub fn together(bench: &Bench<'_>) -> Check {
    let mut line = Line::open(bench, &["hello"])?;
    let answer = FromHost::HelloOk(line.hello(Agree::All)?);
    let ping = FromHost::Ping(Ping { n: 1 });
    let message = line.message("hello");
    line.asked(0, &answer)?;
    line.asked(0, &ping)?;
    let parts = [answer.encode(0), ping.encode(0), message.encode(1)];
    let mut bytes = PREAMBLE.to_vec();
    bytes.extend(parts.into_iter().flatten().flatten());
    line.asked(1, &message)?;
    line.raw(&bytes);
    let heard = line.done(1)?;
    line.well(&heard)?;
    let answered = heard.messages.iter().any(|message| matches!(message, FromWorker::Pong(_)));
    if answered { Ok(()) } else { Err(line.got("the Ping was not answered")) }
}

pub fn prepare(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    let FromHost::Exec(Exec { code, .. }) = line.message("hello") else {
        return Err(line.got("the kit's mistake"));
    };
    line.say(0, &FromHost::Prepare(Prepare { code }))?;
    line.run_well("hello")?;
    alive(&mut line, 1)
}

pub fn late_credit(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    line.run_well("hello")?;
    late(&mut line, 1, &FromHost::Credit(Credit { bytes: 1 << 20 }))
}

/// Says something for an exec that does not run; then the next cell runs.
fn late(line: &mut Line<'_>, exec: u64, message: &FromHost) -> Check {
    let Ok(bytes) = message.encode(exec) else { return Err(line.got("the kit's mistake")) };
    line.raw(&bytes);
    line.run_well("hello")?;
    alive(line, 1)
}

pub fn shrunk(bench: &Bench<'_>) -> Check {
    let shows: Vec<&str> = ["hello", "display", "progress"]
        .into_iter()
        .filter(|name| bench.snippets.code(name).is_some())
        .collect();
    let mut line = Line::greeted(bench, &shows, Agree::None)?;
    for code in shows {
        let heard = line.run_well(code)?;
        let more = heard
            .messages
            .iter()
            .find(|message| matches!(message, FromWorker::Display(_) | FromWorker::Progress(_)));
        if let Some(message) = more {
            let words = format!("`{}` came, whose feature was not agreed", message.name());
            return Err(line.got(words));
        }
    }
    Ok(())
}

pub fn shutdown(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    line.run_well("hello")?;
    line.say(0, &FromHost::Shutdown(Shutdown { grace_ms: 2000 }))?;
    match line.gone()? {
        Exit::Code(0) => Ok(()),
        exit => Err(line.got(exit_words(exit))),
    }
}

pub fn end_of_file(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    line.run_well("hello")?;
    line.close();
    line.gone().map(drop)
}

pub fn refused(bench: &Bench<'_>) -> Check {
    let mut line = Line::open(bench, &[])?;
    line.hello(Agree::All)?;
    line.raw(&PREAMBLE);
    let reason = "the conformance kit refuses to see what happens then".to_owned();
    line.say(0, &FromHost::HelloNo(HelloNo { reason, supported: Vec::new() }))?;
    line.close();
    line.gone().map(drop)
}

pub fn bad_magic(bench: &Bench<'_>) -> Check {
    let mut line = Line::open(bench, &[])?;
    line.hello(Agree::All)?;
    line.raw(b"HTTP/1.1 200 OK\r\n\r\n");
    line.closed()
}

pub fn huge_length(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &[], Agree::All)?;
    line.raw(&Header { length: u32::MAX, kind: UNKNOWN, flags: 0, exec: 0 }.to_bytes());
    line.closed()
}

pub fn must_understand(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &[], Agree::All)?;
    line.raw(&frame(UNKNOWN, flag::MUST_UNDERSTAND, 0, b"\x80"));
    line.closed()
}

pub fn credit(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["flood"], Agree::All)?;
    line.exec("flood", 1)?;
    loop {
        let due = (Instant::now() + SILENCE).min(bench.deadline());
        match line.hear_until(due)? {
            Some((1, FromWorker::Done(_))) => return Ok(()),
            Some(_) => {}
            None if Instant::now() >= bench.deadline() => return Err(line.got("no Done came")),
            None => line.say(1, &FromHost::Credit(Credit { bytes: 2 << 20 }))?,
        }
    }
}

pub fn lives_on(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["raise", "hello"], Agree::All)?;
    let heard = line.run("raise")?;
    if heard.done.ok {
        return Err(line.got("Done with ok = true for a cell that failed"));
    }
    let told = heard.messages.iter().any(|message| {
        matches!(message, FromWorker::Diagnostic(told)
            if told.severity == Severity::Error && told.line == Some(3))
    });
    if !told {
        return Err(line.got("no Diagnostic of severity `error` with line 3 came before its Done"));
    }
    line.run_well("hello")?;
    alive(&mut line, 1)
}

pub fn soft_cancel(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["sleep", "hello"], Agree::All)?;
    line.exec("sleep", 1)?;
    line.printed_something()?;
    let asked = Instant::now();
    line.say(1, &FromHost::Cancel(Cancel { grace_ms: GRACE.as_millis() as u64 }))?;
    let heard = line.done(1)?;
    if heard.done.ok {
        return Err(line.got("Done with ok = true for a cell that was cancelled"));
    }
    if asked.elapsed() > GRACE {
        return Err(line.got(format!("Done after {} ms", asked.elapsed().as_millis())));
    }
    match line.run_well("hello") {
        Ok(_) => alive(&mut line, 1),
        // Who can't stop a cell in the middle may end with it.
        Err(_) if line.ends_soon() => Ok(()),
        Err(got) => Err(got),
    }
}

pub fn late_cancel(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    line.run_well("hello")?;
    late(&mut line, 1, &FromHost::Cancel(Cancel { grace_ms: 1000 }))
}

pub fn stray_cancel(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &["hello"], Agree::All)?;
    late(&mut line, 99, &FromHost::Cancel(Cancel { grace_ms: 1000 }))
}

/// A line whose execs are those of one session.
fn shared<'a>(bench: &'a Bench<'_>, codes: &[&'static str]) -> Result<Line<'a>, crate::bench::Got> {
    let mut line = Line::greeted(bench, codes, Agree::All)?;
    line.share();
    Ok(line)
}

/// What the cell `get` prints.
fn kept(line: &mut Line<'_>) -> Result<String, crate::bench::Got> {
    let _ = line.printed();
    // Where nothing is kept, asking for it may well fail.
    line.run("get")?;
    Ok(line.printed())
}

pub fn session(bench: &Bench<'_>) -> Check {
    let mut line = shared(bench, &["set", "get"])?;
    let heard = line.run_well("set")?;
    if !heard.done.session_changed {
        return Err(line.got("Done of `set` without session_changed"));
    }
    match kept(&mut line)? {
        printed if printed == "42\n" => Ok(()),
        printed => Err(line.got(format!("`get` printed {}", quoted(&printed)))),
    }
}

pub fn reset(bench: &Bench<'_>) -> Check {
    let mut line = shared(bench, &["set", "get"])?;
    line.run_well("set")?;
    line.say(0, &FromHost::Reset(Reset {}))?;
    match kept(&mut line)? {
        printed if printed.contains("42") => Err(line.got("`get` printed 42 as before")),
        _ => Ok(()),
    }
}

pub fn snapshot(bench: &Bench<'_>) -> Check {
    let mut line = shared(bench, &["set", "change", "get"])?;
    let name = "kept".to_owned();
    line.run_well("set")?;
    line.say(0, &FromHost::Snapshot(Snapshot { name: name.clone() }))?;
    line.run_well("change")?;
    line.say(0, &FromHost::Restore(Restore { name }))?;
    match kept(&mut line)? {
        printed if printed == "42\n" => Ok(()),
        printed => Err(line.got(format!("`get` printed {}", quoted(&printed)))),
    }
}

pub fn answered(bench: &Bench<'_>) -> Check {
    let mut line = shared(bench, &["set"])?;
    line.run_well("set")?;
    let name = || "kept".to_owned();
    let asked = [
        (FromHost::Snapshot(Snapshot { name: name() }), true),
        (FromHost::Restore(Restore { name: name() }), true),
        (FromHost::Forget(Forget { name: name() }), true),
        (FromHost::Restore(Restore { name: name() }), false),
    ];
    for (message, due) in asked {
        line.say(0, &message)?;
        match line.hear()? {
            (_, FromWorker::Kept(kept)) if kept.name == "kept" && kept.ok == due => {}
            (_, FromWorker::Kept(kept)) => {
                let words = format!(
                    "Kept for `{}` with ok = {} for `{}`: {}",
                    kept.name,
                    kept.ok,
                    message.name(),
                    kept.reason
                );
                return Err(line.got(words));
            }
            (_, other) => return Err(line.got(format!("`{}` came", other.name()))),
        }
    }
    line.run_well("set").map(drop)
}

pub fn complete(bench: &Bench<'_>) -> Check {
    let mut line = shared(bench, &["set"])?;
    line.run_well("set")?;
    line.say(0, &FromHost::Complete(Complete { code: "x".to_owned(), cursor: 1 }))?;
    match line.hear()? {
        (_, FromWorker::Completions(told)) if told.start <= told.end && told.end <= 1 => Ok(()),
        (_, FromWorker::Completions(told)) => {
            Err(line.got(format!("a part from {} to {} of one character", told.start, told.end)))
        }
        (_, message) => Err(line.got(format!("`{}` came", message.name()))),
    }
}

/// Asks for the state to be written or taken over: the names that came through.
fn saved(line: &mut Line<'_>, message: &FromHost) -> Result<Vec<String>, crate::bench::Got> {
    line.say(0, message)?;
    match line.hear()? {
        (_, FromWorker::Saved(saved)) if !saved.saved.is_empty() => Ok(saved.saved),
        (_, FromWorker::Saved(saved)) => {
            let why = saved.unsaved.iter().map(|it| format!("{}: {}", it.name, it.why));
            let why = why.collect::<Vec<_>>().join("; ");
            Err(line.got(format!("Saved for `{}` names nothing: {why}", message.name())))
        }
        (_, other) => Err(line.got(format!("`{}` came", other.name()))),
    }
}

pub fn durable(bench: &Bench<'_>) -> Check {
    let mut line = shared(bench, &["set", "get"])?;
    line.run_well("set")?;
    let folder = line.out().to_owned();
    let names = saved(&mut line, &FromHost::Save(Save { out: folder.clone() }))?;
    match kept(&mut line)? {
        printed if printed == "42\n" => {}
        printed => {
            return Err(line.got(format!("after Save `get` printed {}", quoted(&printed))));
        }
    }
    line.say(0, &FromHost::Reset(Reset {}))?;
    let again = saved(&mut line, &FromHost::Load(Load { path: folder }))?;
    if let Some(lost) = names.iter().find(|name| !again.contains(name)) {
        return Err(line.got(format!("`{lost}` was saved and not loaded")));
    }
    match kept(&mut line)? {
        printed if printed == "42\n" => Ok(()),
        printed => Err(line.got(format!("after Load `get` printed {}", quoted(&printed)))),
    }
}

pub fn interactive(bench: &Bench<'_>) -> Check {
    let mut line = shared(bench, &["shown"])?;
    let shown = |heard: &Heard| {
        heard.messages.iter().find_map(|message| match message {
            FromWorker::Display(shown) => Some(String::from_utf8_lossy(&shown.data).into_owned()),
            _ => None,
        })
    };
    let heard = line.run_well("shown")?;
    if let Some(data) = shown(&heard) {
        return Err(line.got(format!("{} was shown where nobody waits", quoted(&data))));
    }
    line.ask(|exec| exec.interactive = true);
    let heard = line.run_well("shown")?;
    match shown(&heard) {
        Some(data) if data.contains("42") => Ok(()),
        Some(data) => Err(line.got(format!("{} was shown", quoted(&data)))),
        None => Err(line.got("no Display came")),
    }
}

pub fn source(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &[], Agree::All)?;
    if declares(&bench.executor.manifest, "session") {
        line.share();
    }
    let code = bench.code("hello").to_owned();
    line.ask(|exec| exec.source = Some(code));
    // A name for messages: there is no such file.
    line.named("hello", format!("/cell/code/none.{}", bench.extension()));
    line.run_well("hello")?;
    match line.printed() {
        printed if printed == "hello\n" => Ok(()),
        printed => Err(line.got(format!("printed {}", quoted(&printed)))),
    }
}

/// Whether an entry is a function that cells can be calls of.
fn well_formed(entry: &BTreeMap<String, Value>) -> Result<(), String> {
    let text = |map: &BTreeMap<String, Value>, key: &str| match map.get(key) {
        Some(Value::Str(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err(format!("an entry of the catalog, or a port of it, has no text `{key}`")),
    };
    let name = format!("{}:{}", text(entry, "location")?, text(entry, "object")?);
    for key in ["inputs", "params", "outputs"] {
        let ports = match entry.get(key) {
            Some(Value::List(ports)) => ports.as_slice(),
            Some(_) => return Err(format!("`{key}` of the function `{name}` is no list")),
            None => &[],
        };
        for port in ports {
            let Value::Map(port) = port else {
                return Err(format!("`{key}` of the function `{name}` holds what is no map"));
            };
            let port_name = text(port, "name")?;
            let wrong = |why: String| format!("`{port_name}` of the function `{name}`: {why}");
            port_name.parse::<PortName>().map_err(|error| wrong(error.to_string()))?;
            text(port, "type")?.parse::<Type>().map_err(|error| wrong(error.to_string()))?;
        }
    }
    Ok(())
}

pub fn catalog(bench: &Bench<'_>) -> Check {
    let mut line = Line::greeted(bench, &[], Agree::All)?;
    line.say(0, &FromHost::Describe(Describe {}))?;
    match line.hear()? {
        (_, FromWorker::Catalog(told)) if bench.executor.manifest.has_functions() => {
            told.entries.iter().try_for_each(well_formed).map_err(|words| line.got(words))
        }
        (_, FromWorker::Catalog(_)) => Ok(()),
        (_, FromWorker::Error(error)) => {
            Err(line.got(format!("it gave up: {} {}", error.code, error.text)))
        }
        (_, message) => Err(line.got(format!("`{}` came", message.name()))),
    }
}
