//! `polyloom cache`: how full the store is, and making room.

use polyloom_model::parse_size;
use polyloom_report::{Align, Table, size};
use polyloom_store::GcRequest;

use crate::failure::{Exit, Failure, Outcome};
use crate::world::{World, unix_ms};

/// `polyloom cache stats`.
pub fn stats(world: &World) -> Outcome {
    let store = world.store()?;
    let usage = store.usage().map_err(|error| Failure::of(Exit::Environment, &error))?;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right)]);
    table.row(["place".to_owned(), store.root().display().to_string()]);
    table.row(["artifacts".to_owned(), usage.blobs.to_string()]);
    table.row(["bytes".to_owned(), size(usage.bytes)]);
    table.row(["results".to_owned(), usage.results.to_string()]);
    table.row(["evicted results".to_owned(), usage.evicted.to_string()]);
    table.row(["compiled programs".to_owned(), usage.programs.to_string()]);
    table.row(["index".to_owned(), size(usage.index_bytes)]);
    world.screen.print(&table.render(world.screen.out, world.screen.columns));
    Ok(Exit::Ok)
}

/// `polyloom cache gc`.
pub fn gc(world: &World, max_size: &str, dry_run: bool) -> Outcome {
    let max_bytes = parse_size(max_size).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let request = GcRequest { max_bytes, dry_run, now_unix_ms: unix_ms() };
    let report = polyloom_store::collect(&world.store_folder()?, request)
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
    let verb = if dry_run { "would remove" } else { "removed" };
    let text = format!(
        "{verb} {} artifacts ({}); {} left; {} results lose their outputs\n",
        report.blobs,
        size(report.bytes),
        size(report.left),
        report.results
    );
    world.screen.print(&text);
    Ok(Exit::Ok)
}
