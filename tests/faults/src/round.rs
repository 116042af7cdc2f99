//! One round: a run of the mixed flow, a blow at a random point, and what must be true afterwards.
//!
//! The rules are those of the promise: no process outlives its host by a second, a run whose parts are hurt ends and says
//! what was hit, and the next run has every result that was said to be finished.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use polyloom_test_e2e::{Place, Run, eventually};
use rustix::process::Signal as Kernel;
use serde_json::Value;

use crate::{CELLS, Family, Mixed, Process, Random, groups_of, identity, living};

/// Whom the blow hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The host.
    Host,
    /// The spawner.
    Spawner,
    /// Process 1 of some sandbox.
    Supervisor,
    /// A cell's process, or one that it started.
    Worker,
}

/// What hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGSTOP. A host that was stopped is killed thereafter; the others stay as they are.
    Stop,
    /// SIGSTOP, and SIGCONT within a second.
    Pause,
}

/// When it hits.
#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// So long after so many events.
    Event(usize, Duration),
    /// So long after the start.
    Time(Duration),
}

/// A round to be played.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// For people.
    pub number: u64,
    /// What it was made from.
    pub seed: u64,
    /// Who runs it; `None`: whoever runs the test.
    pub user: Option<u32>,
    /// Whom.
    pub target: Target,
    /// With what.
    pub signal: Signal,
    /// When.
    pub blow: Blow,
    /// Whether the run goes on after a failure.
    pub keep_going: bool,
}

impl Plan {
    /// The plan of a number under a seed.
    #[must_use]
    pub fn new(number: u64, seed: u64, user: Option<u32>, random: &mut Random) -> Self {
        use Signal::{Kill, Pause, Stop};
        use Target::{Host, Spawner, Supervisor, Worker};
        // Each of them in turn, so that thirty rounds have them all; more often what the promise is about.
        const MENU: [(Target, Signal); 15] = [
            (Host, Kill),
            (Supervisor, Stop),
            (Spawner, Kill),
            (Host, Pause),
            (Worker, Stop),
            (Host, Kill),
            (Spawner, Pause),
            (Supervisor, Kill),
            (Host, Stop),
            (Worker, Kill),
            (Host, Kill),
            (Supervisor, Pause),
            (Spawner, Kill),
            (Worker, Pause),
            (Spawner, Stop),
        ];
        let (target, signal) = MENU[usize::try_from(number).unwrap() % MENU.len()];
        let millis = |random: &mut Random, end| Duration::from_millis(random.below(end));
        let blow = if random.below(3) == 0 {
            Blow::Time(millis(random, 1500))
        } else {
            let count = 1 + usize::try_from(random.below(85)).unwrap();
            Blow::Event(count, millis(random, 40))
        };
        let keep_going = random.below(2) == 0;
        Self { number, seed, user, target, signal, blow, keep_going }
    }
}

/// How a round went.
#[derive(Debug)]
pub struct Report {
    /// The plan.
    pub plan: Plan,
    /// Whether there was anybody to be hit when it was time.
    pub hit: bool,
    /// Cells that were said to be finished.
    pub committed: usize,
    /// From the host's death until nobody was left.
    pub gone: Duration,
    /// From the blow to the host's end.
    pub ended: Duration,
    /// The host's exit code, or 128 + signal.
    pub code: i32,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, hit, committed, gone, ended, code } = self;
        write!(
            f,
            "round {:3}: {:?} {:?} {}{}: exit {code} after {ended:.1?}, nobody left after {gone:.1?}, {committed} committed",
            plan.number,
            plan.target,
            plan.signal,
            match plan.blow {
                Blow::Event(count, delay) => format!("at event {count} + {delay:?}"),
                Blow::Time(time) => format!("after {time:?}"),
            },
            if *hit { "" } else { " (too late)" },
        )
    }
}

/// No run of the flow takes as long; the spawner's patience is 20 s.
const ENOUGH: Duration = Duration::from_secs(100);
/// "No orphan after one second."
const SECOND: Duration = Duration::from_secs(1);

/// What a host says, as it comes.
#[derive(Default)]
struct Heard {
    said: Mutex<(Vec<Value>, bool)>,
    news: Condvar,
}

impl Heard {
    fn listen(self: &Arc<Self>, out: impl Read + Send + 'static) {
        let heard = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n') {
                // The last line of a host that was killed may be torn.
                let Ok(event) = serde_json::from_slice(&line.unwrap_or_default()) else { break };
                heard.said.lock().unwrap().0.push(event);
                heard.news.notify_all();
            }
            heard.said.lock().unwrap().1 = true;
            heard.news.notify_all();
        });
    }

    /// Waits for so many events or the end; whether it came in time.
    fn wait(&self, count: usize, limit: Duration) -> bool {
        let said = self.said.lock().unwrap();
        let waits = |said: &mut (Vec<Value>, bool)| said.0.len() < count && !said.1;
        !self.news.wait_timeout_while(said, limit, waits).unwrap().1.timed_out()
    }

    fn over(&self) -> bool {
        self.said.lock().unwrap().1
    }

    fn events(&self) -> Vec<Value> {
        self.said.lock().unwrap().0.clone()
    }
}

/// Plays a round; panics where something is not as promised.
#[must_use]
pub fn play(plan: &Plan) -> Report {
    let place = Place::new();
    let mark = place.root().display().to_string();
    let mixed = Mixed { n: plan.seed.wrapping_add(plan.number) % 6000 + 1 };
    // Where somebody inside is stopped, the cell's own time limit is what goes on. That of compiling is two minutes: too long to
    // wait for, so that is done before.
    let inside = matches!(plan.target, Target::Supervisor | Target::Worker);
    let limited = inside && plan.signal == Signal::Stop;
    let timeout = if limited { "3s" } else { "60s" };
    place.write("polyloom.toml", Mixed::text(timeout, &mark));
    if let Some(user) = plan.user {
        place.give_to(user);
    }
    if limited {
        place.write("compiling.flow.toml", Mixed::compiling());
        let call = place.call(&["run", "compiling.flow.toml"]);
        let call = if let Some(user) = plan.user { call.uid(user) } else { call };
        let _ = call.end().exits(0);
    }
    let n = format!("n={}", mixed.n);
    let mut words = vec!["run", "--events", "-", "-j", "3", "-p", &n];
    words.extend(plan.keep_going.then_some("-k"));
    let mut call = place.call(&words);
    call = if let Some(user) = plan.user { call.uid(user) } else { call };
    let mut command = call.into_command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let host = identity(child.id());
    let heard = Arc::new(Heard::default());
    heard.listen(child.stdout.take().unwrap());
    let mut err = child.stderr.take().unwrap();
    let stderr = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });

    let (hit, spawner) = strike(plan, host.0, &heard);
    let struck = Instant::now();
    if !heard.wait(usize::MAX, ENOUGH) {
        let family = Family::of(host.0);
        let _ = Process::of(host.0).map(|host| host.signal(Kernel::KILL));
        let _ = child.wait();
        panic!("{plan:?} hangs: {family:#?}\n{}", stderr.join().unwrap());
    }
    let code = code(&mut child);
    let died = Instant::now();
    let ended = died - struck;
    let stderr = stderr.join().unwrap();
    let left = || living(host, spawner, &mark);
    let clean = eventually(SECOND, || left().is_empty());
    let gone = died.elapsed();
    assert!(clean, "{plan:?}: still there after {gone:?}: {:#?}\n{stderr}", left());

    let events = heard.events();
    let committed = finished(&events);
    let told = events.last().is_some_and(|event| event["event"] == "run.finished");
    judge(plan, hit, code, told, &events, &stderr);
    let states = states(&place, plan.user);
    let planned = !events.is_empty();
    if planned && !told {
        assert_eq!(states, ["interrupted"], "{plan:?}\n{stderr}");
    }

    place.write("polyloom.toml", Mixed::text("120s", &mark));
    let next = place.call(&["run", "--format", "json", "-p", &n]);
    let next = if let Some(user) = plan.user { next.uid(user) } else { next };
    let next = next.end().run();
    assert_eq!(next.code, 0, "{plan:?}: the next run: {}\n{}", next.told(), next.stderr);
    resumed(plan, &mixed, &next, &committed);
    if !next.ran().is_empty() {
        assert_eq!(groups_of(host), [""; 0].map(std::path::PathBuf::from), "{plan:?}");
    }
    let temporary = std::fs::read_dir(place.store().join("tmp")).unwrap().count();
    assert_eq!(temporary, 0, "{plan:?}: files of the dead in the store");
    assert_eq!(left(), [""; 0], "{plan:?}");
    Report { plan: *plan, hit, committed: committed.len(), gone, ended, code }
}

/// Waits for the moment and strikes. Gives whether somebody was hit, and the spawner's id as far as it is known.
fn strike(plan: &Plan, host: i32, heard: &Heard) -> (bool, Option<i32>) {
    match plan.blow {
        Blow::Event(count, delay) => {
            heard.wait(count, ENOUGH);
            heard.wait(usize::MAX, delay);
        }
        Blow::Time(time) => {
            heard.wait(usize::MAX, time);
        }
    }
    let mut random = Random::new(plan.seed ^ plan.number);
    loop {
        let family = Family::of(host);
        let victim = match plan.target {
            Target::Host => Process::of(host).filter(Process::lives),
            Target::Spawner => family.spawner.clone(),
            Target::Supervisor => random.pick(&family.supervisors).cloned(),
            Target::Worker => random.pick(&family.workers).cloned(),
        };
        let spawner = family.spawner.map(|spawner| spawner.pid);
        let signal = if plan.signal == Signal::Kill { Kernel::KILL } else { Kernel::STOP };
        if let Some(victim) = victim
            && victim.signal(signal)
        {
            match plan.signal {
                Signal::Pause => {
                    heard.wait(usize::MAX, Duration::from_millis(random.below(1000)));
                    victim.signal(Kernel::CONT);
                }
                Signal::Stop if plan.target == Target::Host => {
                    heard.wait(usize::MAX, Duration::from_millis(random.below(500)));
                    victim.signal(Kernel::KILL);
                }
                Signal::Stop | Signal::Kill => {}
            }
            return (true, spawner.or_else(|| Family::of(host).spawner.map(|spawner| spawner.pid)));
        }
        // There is nobody of that kind just now: a little later, as long as there is a host.
        if heard.wait(usize::MAX, Duration::from_millis(1)) && heard.over() {
            return (false, spawner);
        }
    }
}

fn code(child: &mut Child) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let status = child.wait().unwrap();
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Outputs (port to digest) of the cells that were said to have ended well.
fn finished(events: &[Value]) -> BTreeMap<String, BTreeMap<String, String>> {
    let steps = events.iter().filter(|event| {
        event["event"] == "step.finished"
            && ["ok", "cached"].contains(&event["meta"]["outcome"].as_str().unwrap())
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps
        .map(|event| {
            let outputs = event["meta"]["artifacts"].as_object().unwrap().iter();
            let outputs = outputs.map(|(port, artifact)| (port.clone(), text(&artifact["digest"])));
            (text(&event["cell"]), outputs.collect())
        })
        .collect()
}

/// What the first run must have said and ended with.
fn judge(plan: &Plan, hit: bool, code: i32, told: bool, events: &[Value], stderr: &str) {
    let context = || format!("{plan:?}: exit {code}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{}", context());
    if !hit || plan.signal == Signal::Pause {
        assert_eq!(code, 0, "{}", context());
        return;
    }
    if plan.target == Target::Host {
        assert!(code == 137 || (code == 0 && told), "{}", context());
        return;
    }
    if events.is_empty() {
        // It was hit before there was a plan: while a program was asked for its version.
        assert!(code == 3 && stderr.contains("error:"), "{}", context());
        return;
    }
    assert!(told, "the run's end was not said: {}", context());
    let may: &[&str] = match (plan.target, plan.signal) {
        (Target::Spawner, _) | (Target::Supervisor, Signal::Kill) => &["worker_error"],
        // The main process may be another than the one that was hit, and a child's death may be its parent's failure. A worker that had not greeted yet
        // ran nothing of its cell.
        (Target::Worker, Signal::Kill) => &["killed", "failed", "output_missing", "worker_error"],
        // One that is stopped before its sandbox stands is not waited for until the cell's time is over.
        (Target::Supervisor, Signal::Stop) => &["timed_out", "worker_error"],
        (_, Signal::Stop) => &["timed_out"],
        (Target::Host, _) | (_, Signal::Pause) => &[],
    };
    let mut hurt = 0;
    let mut ended = 0;
    for event in events.iter().filter(|event| event["event"] == "step.finished") {
        ended += 1;
        let outcome = event["meta"]["outcome"].as_str().unwrap();
        if ["ok", "skipped", "cancelled"].contains(&outcome) {
            continue;
        }
        hurt += 1;
        assert!(may.contains(&outcome), "{} is {outcome}: {}", event["cell"], context());
        // Whoever was hit is told why.
        let why = &event["meta"]["diagnostics"];
        let told = outcome == "failed" || why.as_array().is_some_and(|all| !all.is_empty());
        assert!(told, "{} is {outcome} without a reason: {}", event["cell"], context());
    }
    assert_eq!(ended, CELLS, "not every cell has an end: {}", context());
    let codes: &[i32] = if hurt > 0 { &[1, 3, 5] } else { &[0] };
    assert!(codes.contains(&code), "{hurt} hurt: {}", context());
}

fn states(place: &Place, user: Option<u32>) -> Vec<String> {
    let call = place.call(&["runs", "--format", "json"]);
    let call = if let Some(user) = user { call.uid(user) } else { call };
    // Nothing recorded is nothing to show.
    let ended = call.end();
    if ended.code() == 4 || ended.bytes().is_empty() {
        return Vec::new();
    }
    let rows = ended.json()["runs"].as_array().unwrap().clone();
    rows.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
}

/// Whether the next run has what the first had finished, and the right results everywhere.
fn resumed(
    plan: &Plan,
    mixed: &Mixed,
    next: &Run,
    committed: &BTreeMap<String, BTreeMap<String, String>>,
) {
    let outcomes = next.outcomes();
    assert_eq!(outcomes.len() as u64, CELLS, "{plan:?}");
    for (cell, outputs) in committed {
        assert_eq!(outcomes[cell], "cached", "{plan:?}: `{cell}` was finished: {outcomes:?}");
        for (port, digest) in outputs {
            assert_eq!(&next.digest(cell, port), digest, "{plan:?}: `{cell}.{port}`");
        }
    }
    for cell in 0..CELLS {
        let name = Mixed::name(cell);
        assert!(["ok", "cached"].contains(&&*outcomes[&name]), "{plan:?}: {outcomes:?}");
        for port in ["x", "big"] {
            let Some(expected) = mixed.digest(cell, port) else { continue };
            if port == "big" && !name.starts_with("large") {
                continue;
            }
            assert_eq!(next.digest(&name, port), expected, "{plan:?}: `{name}.{port}`");
            // Not only the record: the bytes are there.
            let bytes = next.bytes(&name, port);
            assert_eq!(format!("b3:{}", blake3::hash(&bytes).to_hex()), expected, "{plan:?}");
        }
    }
}
