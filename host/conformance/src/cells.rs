//! Cases that are tried by cells, as a flow would have them. Knows no wire.

use std::sync::Arc;
use std::time::Duration;

use polyloom_model::Type;
use polyloom_protocol::{Outcome, Value};
use polyloom_worker::attempt::{Collected, Content, InputFile, Live, Stop};

use crate::bench::{Bench, Check, Got, Order, Seen, port_name, quoted};

/// Beyond its grace, an end is given so much for the machine.
const SLACK: Duration = Duration::from_millis(1500);
/// The grace of a cell.
const GRACE: Duration = Duration::from_secs(2);

fn run(bench: &Bench<'_>, snippet: &str) -> Result<Seen, Got> {
    bench.run(Order { code: bench.code(snippet), ..Order::default() })
}

fn ended_well(seen: &Seen) -> Check {
    let good = seen.report.meta.outcome == Outcome::Ok;
    if good { Ok(()) } else { Err(seen.got(seen.end())) }
}

fn printed(seen: &Seen, wanted: &str) -> Check {
    ended_well(seen)?;
    let found = seen.stdout();
    if found == wanted { Ok(()) } else { Err(seen.got(format!("printed {}", quoted(found)))) }
}

pub fn hello(bench: &Bench<'_>) -> Check {
    printed(&run(bench, "hello")?, "hello\n")
}

pub fn unicode(bench: &Bench<'_>) -> Check {
    printed(&run(bench, "unicode")?, "grüße, 世界 🌍\n")
}

pub fn empty(bench: &Bench<'_>) -> Check {
    printed(&run(bench, "empty")?, "")
}

pub fn arguments(bench: &Bench<'_>) -> Check {
    let argv = ["one", "two words", "drei é"].map(str::to_owned).to_vec();
    let seen = bench.run(Order { code: bench.code("arguments"), argv, ..Order::default() })?;
    printed(&seen, "one\ntwo words\ndrei é\n")
}

pub fn stdin(bench: &Bench<'_>) -> Check {
    let text = "first line\nzweite Zeile é\n";
    let stdin = Some(text.as_bytes().to_vec());
    printed(&bench.run(Order { code: bench.code("stdin"), stdin, ..Order::default() })?, text)
}

pub fn exit(bench: &Bench<'_>) -> Check {
    let seen = run(bench, "exit")?;
    let meta = &seen.report.meta;
    match (meta.outcome, meta.exit_code) {
        (Outcome::Failed, Some(7)) => Ok(()),
        (_, Some(code)) => {
            let (end, exit) = (seen.end(), format!("exit code {code}"));
            // It is often what is said already.
            Err(seen.got(if end.contains(&exit) { end } else { format!("{end}, {exit}") }))
        }
        (_, None) => Err(seen.got(seen.end())),
    }
}

pub fn once(bench: &Bench<'_>) -> Check {
    let Some(maker) = bench.executor.once() else { return Ok(()) };
    let seen = bench.make(Arc::new(maker))?;
    ended_well(&seen)?;
    match &seen.report.program {
        Some(Collected::Tree { files, .. }) if !files.is_empty() => Ok(()),
        _ => Err(seen.got("it ended well and left nothing in `{out}`")),
    }
}

pub fn output_missing(bench: &Bench<'_>) -> Check {
    let outputs = vec![("y", Type::Int)];
    let seen = bench.run(Order { code: bench.code("hello"), outputs, ..Order::default() })?;
    match seen.report.meta.outcome {
        Outcome::OutputMissing | Outcome::Failed => Ok(()),
        _ => Err(seen.got(seen.end())),
    }
}

pub fn artifact(bench: &Bench<'_>) -> Check {
    let outputs = vec![("y", Type::File)];
    let seen = bench.run(Order { code: bench.code("artifact"), outputs, ..Order::default() })?;
    ended_well(&seen)?;
    let output = seen.report.outputs.iter().find(|(port, _)| port.as_str() == "y");
    let Some((_, output)) = output else { return Err(seen.got("no output `y`")) };
    let bytes = crate::samples::bytes(&output.content).map_err(|error| seen.got(error))?;
    match (output.extension.as_str(), bytes.trim_ascii()) {
        (".txt", b"kept") => Ok(()),
        (extension, _) => {
            let text = quoted(&String::from_utf8_lossy(&bytes));
            Err(seen.got(format!("a file with the extension `{extension}` and {text}")))
        }
    }
}

pub fn stderr(bench: &Bench<'_>) -> Check {
    let seen = run(bench, "stderr")?;
    printed(&seen, "out\n")?;
    let text = &seen.report.meta.stderr.text;
    if text == "err\n" {
        return Ok(());
    }
    Err(seen.got(format!("on standard error {}", quoted(text))))
}

pub fn large(bench: &Bench<'_>) -> Check {
    let seen = run(bench, "large")?;
    ended_well(&seen)?;
    let mut lines = 0_usize;
    let mut odd = None;
    let texts = seen.heard.iter().filter_map(|(_, live)| match live {
        Live::Text { stderr: false, text } => Some(text.as_str()),
        _ => None,
    });
    let text: String = texts.collect();
    for line in text.lines() {
        lines += 1;
        if line.len() != 63 || line.bytes().any(|byte| byte != b'x') {
            odd.get_or_insert((lines, line.len()));
        }
    }
    let bytes = seen.report.meta.stdout.bytes;
    match odd {
        None if lines == 16_384 && bytes == 1 << 20 => Ok(()),
        None => Err(seen.got(format!("{lines} lines, {bytes} bytes"))),
        Some((at, length)) => Err(seen.got(format!("line {at} is another one, of {length} bytes"))),
    }
}

pub fn live(bench: &Bench<'_>) -> Check {
    let seen = run(bench, "live")?;
    printed(&seen, "first\nsecond\n")?;
    let at = |word: &str| {
        seen.heard.iter().find_map(|(at, live)| match live {
            Live::Text { stderr: false, text } if text.contains(word) => Some(*at),
            _ => None,
        })
    };
    let (Some(first), Some(second)) = (at("first"), at("second")) else {
        return Err(seen.got("one of them was not seen while it ran"));
    };
    let apart = second.saturating_sub(first);
    if apart >= Duration::from_millis(400) {
        return Ok(());
    }
    Err(seen.got(format!("they came {} ms apart: is what it prints held back?", apart.as_millis())))
}

pub fn print(bench: &Bench<'_>) -> Check {
    printed(&run(bench, "print")?, "PLYW Done\n")
}

pub fn raise(bench: &Bench<'_>) -> Check {
    let seen = run(bench, "raise")?;
    if seen.report.meta.outcome != Outcome::Failed {
        return Err(seen.got(seen.end()));
    }
    let told: Vec<String> = seen
        .errors()
        .map(|error| match error.line {
            Some(line) => format!("line {line}: {}", quoted(&error.message)),
            None => format!("no line: {}", quoted(&error.message)),
        })
        .collect();
    // What an interpreter quotes of the code it prints, and what it says of it is the message.
    let printed = seen.report.meta.stderr.text.contains("boom");
    let right = |error: &polyloom_protocol::Diagnostic| {
        error.line == Some(3) && (printed || error.message.contains("boom"))
    };
    if !seen.errors().any(right) {
        let words = if told.is_empty() { "no error was told".to_owned() } else { told.join("; ") };
        return Err(seen.got(words));
    }
    if seen.report.meta.stderr.text.trim().is_empty() {
        return Err(seen.got("nothing on standard error"));
    }
    Ok(())
}

pub fn syntax(bench: &Bench<'_>) -> Check {
    let seen = run(bench, "syntax")?;
    if seen.report.meta.outcome != Outcome::Failed {
        return Err(seen.got(seen.end()));
    }
    match seen.errors().any(|error| error.line.is_some()) {
        true => Ok(()),
        false => Err(seen.got(format!("{}; no error names a line", seen.end()))),
    }
}

fn stopped(bench: &Bench<'_>, snippet: &str, how: Stop, within: Duration) -> Check {
    let stop = Some(how);
    let seen = bench.run(Order { code: bench.code(snippet), stop, ..Order::default() })?;
    let Some(asked) = seen.stopped else {
        let nothing = match snippet {
            "sleep" => "`asleep` was never printed: is it flushed?",
            _ => "it printed nothing to begin with: is it flushed?",
        };
        return Err(seen.got(format!("{nothing} ({})", seen.end())));
    };
    if seen.report.meta.outcome != Outcome::Cancelled {
        return Err(seen.got(seen.end()));
    }
    let took = seen.took.saturating_sub(asked);
    if took > within + SLACK {
        return Err(seen.got(format!("it was gone after {} ms", took.as_millis())));
    }
    Ok(())
}

pub fn stop(bench: &Bench<'_>) -> Check {
    stopped(bench, "sleep", Stop::Gracefully, GRACE)
}

pub fn stop_now(bench: &Bench<'_>) -> Check {
    stopped(bench, "sleep", Stop::Now, Duration::ZERO)
}

pub fn stop_loop(bench: &Bench<'_>) -> Check {
    stopped(bench, "loop", Stop::Gracefully, GRACE)
}

pub fn timeout(bench: &Bench<'_>) -> Check {
    let timeout = Some(Duration::from_secs(1));
    let seen = bench.run(Order { code: bench.code("sleep"), timeout, ..Order::default() })?;
    let good = seen.report.meta.outcome == Outcome::TimedOut;
    if good { Ok(()) } else { Err(seen.got(seen.end())) }
}

pub fn environment(bench: &Bench<'_>) -> Check {
    printed(&run(bench, "environment")?, "\n")
}

pub fn child(bench: &Bench<'_>) -> Check {
    printed(&run(bench, "child")?, "closed\n")
}

pub fn log(bench: &Bench<'_>) -> Check {
    let noted = |live: &Live| matches!(live, Live::Log { text, .. } if text == "noted");
    showed(bench, "log", noted)
}

pub fn progress(bench: &Bench<'_>) -> Check {
    let half = |live: &Live| matches!(live, Live::Progress { fraction: Some(0.5), .. });
    showed(bench, "progress", half)
}

pub fn display(bench: &Bench<'_>) -> Check {
    let shown = |live: &Live| matches!(live, Live::Display { data, .. } if data.windows(5).any(|window| window == b"shown"));
    showed(bench, "display", shown)
}

fn showed(bench: &Bench<'_>, snippet: &str, right: impl Fn(&Live) -> bool) -> Check {
    let seen = run(bench, snippet)?;
    ended_well(&seen)?;
    if seen.heard.iter().any(|(_, live)| right(live)) {
        return Ok(());
    }
    let all: Vec<String> =
        seen.heard.iter().map(|(_, live)| quoted(&format!("{live:?}"))).collect();
    let words = if all.is_empty() { "nothing was shown".to_owned() } else { all.join(", ") };
    Err(seen.got(words))
}

pub fn call(bench: &Bench<'_>) -> Check {
    let port = port_name("n")?;
    let twice = |value: Value| {
        let input = InputFile {
            port: port.clone(),
            ty: Type::Int,
            content: Content::Value(value.to_msgpack().into()),
            extension: String::new(),
            media: None,
        };
        bench.run(Order {
            code: bench.code("double"),
            inputs: vec![input],
            outputs: vec![("result", Type::Int)],
            function: Some("double"),
            ..Order::default()
        })
    };
    let seen = twice(Value::Int(21))?;
    ended_well(&seen)?;
    let result = seen.report.outputs.get(&port_name("result")?);
    let bytes = result.map(|output| crate::samples::bytes(&output.content));
    let bytes = bytes.transpose().map_err(|error| seen.got(error))?.unwrap_or_default();
    match Value::from_msgpack(&bytes) {
        Ok(Value::Int(42)) => {}
        Ok(value) => return Err(seen.got(format!("`result` is {}", quoted(&value.to_json())))),
        Err(error) => return Err(seen.got(format!("`result` is no value: {error}"))),
    }
    let seen = twice(Value::from("big"))?;
    let told = seen.report.meta.diagnostics.iter().any(|told| told.message.contains("`n`"));
    match seen.report.meta.outcome {
        Outcome::Failed if told => Ok(()),
        Outcome::Failed => Err(seen.got("no diagnostic named the argument `n`, which was a text")),
        _ => Err(seen.got(format!("for a text as `n`: {}", seen.end()))),
    }
}

pub fn extra(bench: &Bench<'_>) -> Check {
    let seen = run(bench, "extra")?;
    ended_well(&seen)?;
    let Some(output) = seen.report.extra.get("notes-2.txt") else {
        let names: Vec<&str> = seen.report.extra.keys().map(String::as_str).collect();
        return Err(seen.got(format!("kept was [{}]", names.join(", "))));
    };
    let bytes = crate::samples::bytes(&output.content).map_err(|error| seen.got(error))?;
    match bytes.trim_ascii() {
        b"noted" => Ok(()),
        other => Err(seen.got(format!("it holds {}", quoted(&String::from_utf8_lossy(other))))),
    }
}
