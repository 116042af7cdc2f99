//! `polyloom cache`: how full the store is, making room, looking for damage, carrying results elsewhere.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;
use std::time::{Duration, Instant};

use polyloom_model::{parse_duration, parse_size};
use polyloom_report::{Align, Table, escape_line, size};
use polyloom_store::{Archived, Audit, Bounds, Damage, GcRequest, Kept, Mend, OpenError, Store};

use crate::args::GcArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::whole::{self, Readers};
use crate::world::{World, unix_ms};

/// What a store may hold unless somebody says otherwise.
const MAX_SIZE: &str = "10GiB";

fn environment(error: &dyn std::error::Error) -> Failure {
    Failure::of(Exit::Environment, error)
}

/// `polyloom cache stats`.
pub fn stats(world: &World) -> Outcome {
    let store = world.store()?;
    let usage = store.usage().map_err(|error| environment(&error))?;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right)]);
    table.row(["place".to_owned(), store.root().display().to_string()]);
    if let Some(behind) = store.behind_root() {
        table.row(["behind it, read only".to_owned(), behind.display().to_string()]);
    }
    table.row(["artifacts".to_owned(), usage.blobs.to_string()]);
    table.row(["bytes".to_owned(), size(usage.bytes)]);
    for (name, bytes) in [("to be kept", usage.kept), ("temporary", usage.temporary)] {
        if bytes > 0 {
            table.row([name.to_owned(), size(bytes)]);
        }
    }
    table.row(["results".to_owned(), usage.results.to_string()]);
    table.row(["evicted results".to_owned(), usage.evicted.to_string()]);
    table.row(["compiled programs".to_owned(), usage.programs.to_string()]);
    table.row(["index".to_owned(), size(usage.index_bytes)]);
    world.screen.print(&table.render(world.screen.out, world.screen.columns));
    Ok(Exit::Ok)
}

/// The bounds that the environment sets, for `gc` and for what a run does at its end: `POLYLOOM_STORE_MAX` (a size, 0 for none) and
/// `POLYLOOM_STORE_MAX_AGE`.
pub fn bounds(variable: impl Fn(&str) -> Option<String>) -> Result<Bounds, Failure> {
    let get = |name: &str| variable(name).filter(|value| !value.is_empty());
    let wrong = |name: &str, error: &dyn std::error::Error| {
        let mut failure = Failure::of(Exit::Usage, error);
        failure.messages.insert(0, format!("the variable `{name}` can't be understood"));
        failure
    };
    let max = get("POLYLOOM_STORE_MAX").unwrap_or_else(|| MAX_SIZE.to_owned());
    let max_bytes = match max.trim() {
        "0" => None,
        text => Some(parse_size(text).map_err(|error| wrong("POLYLOOM_STORE_MAX", &error))?),
    };
    let max_age = get("POLYLOOM_STORE_MAX_AGE").map(|text| parse_duration(&text)).transpose();
    let max_age = max_age.map_err(|error| wrong("POLYLOOM_STORE_MAX_AGE", &error))?;
    Ok(Bounds { max_bytes, max_age_ms: max_age.map(millis), ..Bounds::default() })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `polyloom cache gc`.
pub fn gc(world: &World, args: &GcArgs) -> Outcome {
    let usage = |error: &dyn std::error::Error| Failure::of(Exit::Usage, error);
    let mut bounds = bounds(|name| std::env::var(name).ok())?;
    if let Some(text) = &args.max_size {
        bounds.max_bytes = Some(parse_size(text).map_err(|error| usage(&error))?);
    }
    if let Some(text) = &args.max_age {
        bounds.max_age_ms = Some(millis(parse_duration(text).map_err(|error| usage(&error))?));
    }
    bounds.max_results = args.max_results;
    bounds.kept = if args.kept { Kept::MayGo } else { Kept::Stay };
    let request = GcRequest { bounds, dry_run: args.dry_run, now_unix_ms: unix_ms() };
    let report = polyloom_store::collect(&world.store_folder()?, request)
        .map_err(|error| environment(&error))?;
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let mut text = format!(
        "{verb} {} artifacts ({}); {} left; {} results lose their outputs\n",
        report.blobs,
        size(report.bytes),
        size(report.left),
        report.results
    );
    if report.records > 0 {
        text.push_str(&format!("{verb} {} records\n", report.records));
    }
    if report.kept > 0 {
        text.push_str(&format!("{} are kept since flows say so\n", size(report.kept)));
    }
    world.screen.print(&text);
    Ok(Exit::Ok)
}

/// `polyloom cache verify`.
pub fn verify(world: &World, mend: Mend) -> Outcome {
    let root = world.store_folder()?;
    let mut shown = Instant::now();
    let mut progress = |done: u64, all: u64| {
        if world.screen.err_tty && shown.elapsed() > Duration::from_millis(100) {
            shown = Instant::now();
            world.screen.note(&format!("\r{} of {} looked at\x1b[K", size(done), size(all)));
        }
    };
    let renew = || polyloom_store::renew_index(&root).map_err(|error| environment(&error));
    let mut look =
        || -> Result<Audit, OpenError> { Ok(Store::open(&root)?.audit(mend, &mut progress)?) };
    let mut text = String::new();
    let damaged = |error: &OpenError| match error {
        OpenError::Unreadable { .. } => true,
        OpenError::Fault(fault) => fault.is_damaged(),
        OpenError::Newer { .. } => false,
    };
    let audit = match look() {
        Err(error) if damaged(&error) && mend == Mend::Yes => {
            let aside = renew()?;
            text.push_str(&format!("the index can't be read; it is `{}` now\n", aside.display()));
            look()
        }
        other => other,
    };
    let audit = audit.map_err(|error| match damaged(&error) {
        true => environment(&error).hint("polyloom cache verify --fix moves it away"),
        false => environment(&error),
    })?;
    if world.screen.err_tty {
        world.screen.note("\r\x1b[K");
    }
    for damage in &audit.damaged {
        text.push_str(&format!("damaged: {}\n", escape_line(&damage.to_string())));
    }
    text.push_str(&format!(
        "{} artifacts ({}) and {} results looked at: ",
        audit.blobs,
        size(audit.bytes),
        audit.results
    ));
    let index = audit.damaged.iter().any(|damage| matches!(damage, Damage::Index { .. }));
    let exit = match (audit.damaged.len(), mend) {
        (0, _) => {
            text.push_str("all are whole\n");
            Exit::Ok
        }
        (count, Mend::No) => {
            text.push_str(&format!("{count} damaged\n"));
            Exit::Failed
        }
        (count, Mend::Yes) => {
            text.push_str(&format!("{count} damaged, removed; cells that need them run again\n"));
            Exit::Ok
        }
    };
    if index && mend == Mend::Yes {
        let aside = renew()?;
        text.push_str(&format!("a new index is begun; the old one is `{}`\n", aside.display()));
    }
    world.screen.print(&text);
    if exit == Exit::Failed {
        world.screen.note("hint: polyloom cache verify --fix\n");
    }
    Ok(exit)
}

/// `polyloom cache export`.
pub fn export(world: &World, file: &Path) -> Outcome {
    let store = world.store()?;
    if file.as_os_str() == "-" {
        let mut out = BufWriter::new(io::stdout().lock());
        let archived = store.export(&mut out).map_err(|error| environment(&error))?;
        drop(out);
        world.screen.tell(&told("wrote", &archived));
        return Ok(Exit::Ok);
    }
    let cant = |error: io::Error| {
        let text = format!("`{}` can't be written: {error}", file.display());
        Failure::new(Exit::Environment, text)
    };
    let fill = |out: &mut BufWriter<File>| store.export(out).map_err(|error| environment(&error));
    let archived = whole::write(file, Readers::All, fill, cant)?;
    world.screen.print(&told("wrote", &archived));
    Ok(Exit::Ok)
}

/// `polyloom cache import`.
pub fn import(world: &World, file: &Path) -> Outcome {
    let store = world.store()?;
    let imported = if file.as_os_str() == "-" {
        store.import(&mut BufReader::new(io::stdin().lock()), unix_ms())
    } else {
        let opened = File::open(file).map_err(|error| {
            let name = file.display();
            Failure::new(Exit::Usage, format!("`{name}` can't be read: {error}"))
        })?;
        store.import(&mut BufReader::new(opened), unix_ms())
    };
    let archived = imported.map_err(|error| {
        let mut failure = environment(&error);
        failure.messages.insert(0, format!("`{}` was not taken over", file.display()));
        failure
    })?;
    world.screen.print(&told("took over", &archived));
    Ok(Exit::Ok)
}

fn told(verb: &str, archived: &Archived) -> String {
    let Archived { blobs, bytes, results, left_out } = archived;
    let bytes = size(*bytes);
    let mut text = format!("{verb} {results} results with {blobs} artifacts ({bytes})\n");
    if *left_out > 0 {
        text.push_str(&format!(
            "{left_out} results were left out: there already, or without all outputs\n"
        ));
    }
    text
}

/// Makes room at the end of a run, if the store has outgrown its bounds. Says nothing: what is removed can be made again.
pub fn tidy(store: &Store, bounds: Bounds) {
    match store.tidy(bounds, unix_ms()) {
        Ok(Some(report)) => tracing::info!(?report, "the store was tidied"),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the store could not be tidied"),
    }
}
