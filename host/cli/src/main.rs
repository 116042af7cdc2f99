//! The polyloom command: says what was typed to whoever does it, and how it ended to whoever asked.
//!
//! The same file is the sandbox's spawner and the bundled executors, under hidden first words, so that copying it is the whole installation.

mod args;
mod commands;
mod failure;
mod functions;
mod permission;
mod scratch;
mod screen;
mod there;
mod whole;
mod world;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use polyloom_server::Stop;
use polyloom_store::Mend;

use crate::args::{CacheCommand, Cli, Command, PluginCommand, RunsArgs, RunsCommand};
use crate::failure::{Exit, Failure};
use crate::screen::Screen;
use crate::world::World;

fn main() -> ExitCode {
    let started = Instant::now();
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == polyloom_sandbox::SPAWNER_ARG => polyloom_sandbox::spawner_main(),
        Some(word) if word == "__executor" => return executor(words.collect()),
        _ => {}
    }
    let mut cli = Cli::parse();
    cli.command.settle();
    let screen = Screen::new(&cli.global);
    trace(&screen);
    match dispatch(cli, screen, started) {
        Ok(Exit::Ok) if screen::unwritten() => {
            let failure = Failure::new(Exit::Environment, "standard output can't be written");
            screen.tell(&failure.render(screen.err));
            failure.exit.into()
        }
        Ok(exit) => exit.into(),
        Err(failure) => {
            screen.tell(&failure.render(screen.err));
            failure.exit.into()
        }
    }
}

/// A bundled executor that is this very program.
fn executor(mut words: Vec<OsString>) -> ExitCode {
    if words.is_empty() {
        return ExitCode::from(Exit::Usage as u8);
    }
    let name = words.remove(0);
    if name == "native" {
        return polyloom_executor_native::main(&words);
    }
    if name == "java" {
        return polyloom_executor_native::java::main(&words);
    }
    if name == "c" {
        return polyloom_executor_c::main(&words);
    }
    #[cfg(feature = "jupyter")]
    if name == "jupyter" {
        return polyloom_executor_jupyter::main(&words);
    }
    #[cfg(feature = "wasm")]
    if name == "wasm" {
        use polyloom_sandbox::{Seccomp, zygote};
        let zygote = zygote::is_wanted().then_some((|| zygote::serve(Seccomp::Runner)) as fn());
        return polyloom_executor_wasm::main(words, zygote);
    }
    let message = format!("this build has no executor `{}`", name.to_string_lossy().escape_debug());
    let screen = Screen::new(&args::Global::default());
    screen.tell(&Failure::new(Exit::Environment, message).render(screen.err));
    ExitCode::from(Exit::Environment as u8)
}

/// The host's own log, for who looks into the host: `POLYLOOM_LOG=debug`.
fn trace(screen: &Screen) {
    let Ok(filter) = std::env::var("POLYLOOM_LOG") else { return };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(screen.err.color)
        .init();
}

fn dispatch(cli: Cli, screen: Screen, started: Instant) -> failure::Outcome {
    let global = cli.global;
    if let Some(missing) = global.executor_dir.iter().find(|folder| !folder.is_dir()) {
        let message =
            format!("there is no folder `{}`, given as --executor-dir", missing.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let runs_cells = matches!(cli.command, Command::Run(_));
    let world = || {
        let world = World::new(&global, screen, started);
        world.tell_problems(runs_cells);
        world
    };
    // What there is of languages is nothing to who looks after what runs already.
    let quiet = || World::new(&global, screen, started);
    match cli.command {
        Command::Run(args) => commands::run::run(&world(), *args),
        Command::Repl(args) => commands::repl::repl(&world(), &args),
        Command::Check { mut flows, folder, purity, format } => {
            flows.extend(folder);
            commands::check::check(&world(), &flows, purity, format)
        }
        Command::Catalog(args) => commands::catalog::catalog(&world(), &args),
        Command::Plan { mut flow, mut select, permissions, format } => {
            select.settle(&mut flow);
            commands::plan::plan(&world(), &flow, &select, &permissions, format)
        }
        Command::Why { cell, against, flow, permissions, format } => {
            let against = against.as_deref();
            commands::why::why(&world(), &cell, against, &flow, &permissions, format)
        }
        Command::Status { flow, permissions, format } => {
            commands::plan::status(&world(), &flow, &permissions, format)
        }
        Command::Graph { flow, mermaid, dot, json } => {
            commands::graph::graph(&world(), &flow, mermaid, dot, json)
        }
        Command::Expand { flow, format } => commands::expand::expand(&world(), &flow, format),
        Command::Logs { at, tail } => commands::history::logs(&world(), &at, tail),
        Command::Show(args) => commands::show::show(&world(), args),
        Command::Runs(args) => runs(&world(), args),
        Command::Lineage(args) => commands::lineage::lineage(&world(), &args),
        Command::Replay { at, trace } => commands::history::replay(&world(), &at, trace.as_deref()),
        Command::Attach(args) => commands::attach::attach(&world(), &args),
        Command::Stop { at, now } => {
            let how = if now { Stop::Now } else { Stop::Gracefully };
            commands::attach::stop(&world(), &at, how)
        }
        Command::Cache { command } => match command {
            CacheCommand::Stats => commands::cache::stats(&world()),
            CacheCommand::Gc(args) => commands::cache::gc(&world(), &args),
            CacheCommand::Verify { fix: false } => commands::cache::verify(&world(), Mend::No),
            CacheCommand::Verify { fix: true } => commands::cache::verify(&world(), Mend::Yes),
            CacheCommand::Export { file } => commands::cache::export(&world(), &file),
            CacheCommand::Import { file } => commands::cache::import(&world(), &file),
        },
        Command::Grants { project, folder, revoke, format } => {
            commands::grants::grants(&world(), project.or(folder).as_deref(), &revoke, format)
        }
        Command::New { name } => commands::files::new(&screen, &name),
        Command::Fmt { flows, check } => commands::files::fmt(&screen, &flows, check),
        Command::Plugin { command } => plugin(&world(), command),
        Command::Daemon { command } => commands::daemon::daemon(&quiet(), command),
        Command::Session { command } => commands::session::session(&quiet(), &command),
        Command::Doctor { attack: true, format } => commands::attack::run(&world(), format),
        Command::Doctor { attack: false, format } => commands::doctor::doctor(&world(), format),
        Command::Schema { of } => commands::files::schema(&screen, of),
        Command::Completion { shell } => commands::files::completion(&screen, shell),
        Command::Man { dir } => commands::files::man(&dir),
    }
}

fn plugin(world: &World, command: PluginCommand) -> failure::Outcome {
    use commands::{install, lock, manage, plugin};
    match command {
        PluginCommand::List { format } => plugin::list(world, format),
        PluginCommand::New(args) => commands::new::new(world, &args),
        PluginCommand::Test { which: Some(which), timeout, format, .. } => {
            commands::conformance::test(world, &which, &timeout, format)
        }
        PluginCommand::Test { which: None, format, .. } => {
            commands::conformance::cases(world, format)
        }
        PluginCommand::Install(args) => install::install(world, &args),
        PluginCommand::Remove { id } => manage::remove(world, &id),
        PluginCommand::Info { id, format } => manage::info(world, &id, format),
        PluginCommand::Enable { id, yes } => manage::enable(world, &id, yes),
        PluginCommand::Disable { id } => manage::disable(world, &id),
        PluginCommand::Lock { flow } => lock::lock(world, &flow),
        PluginCommand::Outdated { format } => manage::outdated(world, format),
    }
}

fn runs(world: &World, args: RunsArgs) -> failure::Outcome {
    match args.command.unwrap_or(RunsCommand::List(args.list)) {
        RunsCommand::List(args) => commands::history::runs(world, args),
        RunsCommand::Show(args) => commands::show::show(world, args),
        RunsCommand::Diff(args) => commands::diff::diff(world, args),
        RunsCommand::Prune(args) => commands::retention::prune(world, args),
        RunsCommand::Export(args) => commands::transfer::export(world, args),
        RunsCommand::Import(args) => commands::transfer::import(world, args),
    }
}
