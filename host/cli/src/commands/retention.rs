//! `polyloom runs prune`, and how long runs are kept when nobody asks.

use std::num::NonZeroUsize;

use polyloom_model::parse_duration;
use polyloom_store::Retention;

use super::history;
use crate::args::PruneArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::world::{World, unix_ms};

/// Runs of a project that are kept where nothing else is said.
const KEEP_RUNS: NonZeroUsize = NonZeroUsize::new(100).expect("a hundred is not zero");
const COUNT: &str = "POLYLOOM_KEEP_RUNS";
const AGE: &str = "POLYLOOM_KEEP_AGE";

/// A variable of the environment; an empty one is none.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    Some(value).filter(|value| !value.is_empty())
}

/// What the flags say, else the environment, else the default.
pub fn retention(keep: Option<NonZeroUsize>, max_age: Option<&str>) -> Result<Retention, Failure> {
    let wrong = |name: &str, why: String| {
        Failure::new(Exit::Usage, format!("`{name}`: {why}"))
            .hint(format!("`{COUNT}=100` keeps a hundred runs, `{AGE}=30d` those of thirty days"))
    };
    let runs = match (keep, variable(COUNT)) {
        (Some(keep), _) => keep,
        (None, Some(text)) => text.trim().parse().map_err(|_| {
            wrong(COUNT, format!("`{}` is no number from 1 on", text.escape_debug()))
        })?,
        (None, None) => KEEP_RUNS,
    };
    let (name, age) = match max_age {
        Some(age) => ("--max-age", Some(age.to_owned())),
        None => (AGE, variable(AGE)),
    };
    let age = age.map(|age| parse_duration(&age)).transpose();
    let age = age.map_err(|error| wrong(name, error.to_string()))?;
    let since_unix_ms = age.map_or(0, |age| {
        unix_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    });
    Ok(Retention { runs, since_unix_ms })
}

/// The command.
pub fn prune(world: &World, args: PruneArgs) -> Outcome {
    let retention = retention(args.keep, args.max_age.as_deref())?;
    let history = history::open(world, args.project)?;
    let gone = history.prune(&retention);
    let gone = gone.map_err(|error| Failure::of(Exit::Environment, &error))?;
    let noun = if gone == 1 { "run" } else { "runs" };
    world.screen.note(&format!("removed {gone} {noun}\n"));
    Ok(Exit::Ok)
}
