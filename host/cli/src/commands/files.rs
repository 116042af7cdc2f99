//! `new`, `fmt`, `schema`, `completion`, `man`: commands that write or print files and need no store.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use crate::args::{Cli, SchemaOf};
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::{Screen, shown};
use crate::whole::{self, Readers};

/// `polyloom new NAME`.
pub fn new(screen: &Screen, name: &str) -> Outcome {
    let files = polyloom_load::template(name).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let folder = Path::new(name);
    if folder.exists() {
        let message = format!("`{}` is there already; nothing was written", folder.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    let failed = |error: io::Error| {
        let message = format!("`{}` can't be written: {error}", folder.display());
        Failure::new(Exit::Environment, message)
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&path, text).map_err(failed)?;
        screen.note(&format!("wrote {}\n", shown(&path)));
    }
    screen.note(&format!("now: polyloom run {name}\n"));
    Ok(Exit::Ok)
}

/// `polyloom fmt`.
pub fn fmt(screen: &Screen, flows: &[PathBuf], check: bool) -> Outcome {
    let here = [PathBuf::from(".")];
    let flows = if flows.is_empty() { &here[..] } else { flows };
    let mut exit = Exit::Ok;
    for flow in flows {
        let formatted = polyloom_load::format_file(flow);
        let (path, before, after) = match formatted {
            Ok(formatted) => formatted,
            Err(report) => {
                let width = screen.columns.unwrap_or(100);
                screen.tell(&polyloom_load::render(&report, screen.err.color, width));
                exit = Exit::Usage;
                continue;
            }
        };
        if before == after {
            continue;
        }
        if check {
            screen.print(&format!("would format {}\n", shown(&path)));
            if exit == Exit::Ok {
                exit = Exit::Failed;
            }
            continue;
        }
        let cant = |error: io::Error| {
            let message = format!("`{}` can't be written: {error}", path.display());
            Failure::new(Exit::Environment, message)
        };
        let fill = |out: &mut BufWriter<File>| out.write_all(after.as_bytes()).map_err(cant);
        whole::write(&path, Readers::All, fill, cant)?;
        screen.note(&format!("formatted {}\n", shown(&path)));
    }
    Ok(exit)
}

/// `polyloom schema`.
pub fn schema(screen: &Screen, of: SchemaOf) -> Outcome {
    let text = match of {
        SchemaOf::Flow => polyloom_load::flow_schema(),
        SchemaOf::Executor => polyloom_load::executor_schema(),
        SchemaOf::Events => polyloom_report::events_schema(),
        SchemaOf::Run => polyloom_report::run_schema(),
    };
    screen.print(&text);
    Ok(Exit::Ok)
}

/// `polyloom completion`.
pub fn completion(screen: &Screen, shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "polyloom", &mut text);
    screen.print(&String::from_utf8_lossy(&text));
    Ok(Exit::Ok)
}

/// `polyloom man`.
pub fn man(dir: &Path) -> Outcome {
    let made =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    made.map_err(|error| Failure::of(Exit::Environment, &error))?;
    Ok(Exit::Ok)
}
