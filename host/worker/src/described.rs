//! A worker that is asked what functions it has: started in a sandbox, greeted, asked once by the protocol (`Describe`), and ended. For executors
//! that have no `[catalog]`, but the features `catalog` and `call`.
//!
//! What comes back is a claim; of its form this knows the names of what it fills in.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use polyloom_model::{Kind, WorkerSpec};
use polyloom_sandbox as sandbox;
use serde_json::{Map, Value as Json, json};

use crate::ask::{ASKING, Asker};
use crate::executor::{Executor, Slots};
use crate::messages;
use crate::reader::{Pipe, WORDS, said};
use crate::talk::Talk;
use crate::workplace::Workplace;

impl Workplace {
    /// The functions of an executor as a reader would say them: one document.
    pub(crate) fn described(&self, executor: &Executor) -> Result<Vec<u8>, String> {
        let Kind::Worker(worker) = &executor.manifest.kind else {
            return Err("it has no `[catalog]`".to_owned());
        };
        let view = self.spawner().and_then(sandbox::Spawner::view);
        let view = view.map_err(|error| messages::chain(&error))?;
        let slots = Slots { code: "", program: "", args: &[], head: None, view: &view };
        let argv = executor.expand(&worker.argv, slots);
        let (mut spec, policy) = self.question(argv, &[], Asker::Others)?;
        spec.binds = self.base_binds(executor);
        spec.worker_socket = true;
        let mut cell = self.open(&policy, &spec)?;
        let mut pipes =
            [Pipe::new(cell.take_stdout(), WORDS), Pipe::new(cell.take_stderr(), WORDS)];
        let talked = converse(&mut cell, executor, worker, &mut pipes);
        cell.finish();
        let entries = talked.map_err(|why| match said(&pipes[1].heard) {
            words if words.is_empty() => why,
            words => format!("{why}: {words}"),
        })?;
        let entries: Vec<Json> =
            entries.into_iter().map(|entry| whole(executor.manifest.id.as_str(), entry)).collect();
        let document = json!({ "version": 1, "entries": entries, "types": {}, "problems": [] });
        Ok(document.to_string().into_bytes())
    }
}

/// Talks to the worker until it has said its catalog.
fn converse(
    cell: &mut sandbox::Sandbox,
    executor: &Executor,
    worker: &WorkerSpec,
    pipes: &mut [Pipe; 2],
) -> Result<Vec<Map<String, Json>>, String> {
    let mut socket = File::from(cell.take_worker().ok_or("it has no socket")?);
    let mut talk = Talk::new(&executor.manifest, worker, None);
    let mut unsent = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut asked = false;
    let began = Instant::now();
    loop {
        pipes.iter_mut().for_each(Pipe::listen);
        if began.elapsed() > ASKING {
            return Err(format!("it gave no answer in {} s", ASKING.as_secs()));
        }
        if !unsent.is_empty() {
            match socket.write(&unsent) {
                Ok(count) => drop(unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        match sandbox::stream::read(&socket, &mut buffer) {
            Ok((0, _)) => return Err("it ended without an answer".to_owned()),
            Ok((count, _)) => {
                unsent.extend(talk.on_bytes(&buffer[..count])?.send);
                if talk.greeted && !asked {
                    asked = true;
                    unsent.extend(talk.describe().ok_or("it does not offer `catalog` and `call`")?);
                }
                if let Some(entries) = talk.catalog.take() {
                    let entries = entries.iter().map(serde_json::to_value);
                    let entries: Result<Vec<Json>, _> = entries.collect();
                    let entries = entries.map_err(|error| error.to_string())?;
                    let map = |entry| match entry {
                        Json::Object(map) => Some(map),
                        _ => None,
                    };
                    return Ok(entries.into_iter().filter_map(map).collect());
                }
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, !unsent.is_empty());
        let mut fds = vec![PollFd::new(socket.as_fd(), wanted)];
        fds.extend(pipes.iter().filter_map(Pipe::fd).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::from(100_u8)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// An entry with all that an executor need not say: its id follows from its parts, and what its cells are keyed by from the entry, for the program
/// itself is in every key.
fn whole(executor: &str, mut entry: Map<String, Json>) -> Json {
    let text = |entry: &Map<String, Json>, key: &str| {
        entry.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    let (location, object) = (text(&entry, "location"), text(&entry, "object"));
    let digest = blake3::hash(Json::Object(entry.clone()).to_string().as_bytes());
    let mut fill = |key: &str, value: Json| {
        entry.entry(key.to_owned()).or_insert(value);
    };
    fill("id", json!(format!("{executor}:{location}:{object}")));
    fill("executor", json!(executor));
    fill("module", json!(location));
    fill("title", json!(object));
    fill("category", json!(location));
    fill("digest", json!(digest.to_hex().to_string()));
    for list in ["tags", "inputs", "params", "outputs", "files"] {
        fill(list, json!([]));
    }
    // Its code is the program, wherever that is.
    entry.insert("files".to_owned(), json!([]));
    entry.insert("file".to_owned(), Json::Null);
    Json::Object(entry)
}
