//! From evidence to outcome: the one function that decides how an attempt ended.
//!
//! Everything it reads is a fact of the host (timers, counters, wait status); claims of the worker can only turn a
//! success into a failure.

use std::time::Duration;

use polyloom_model::{Limit, Limits};
use polyloom_protocol::Outcome;
use polyloom_sandbox::Usage;

/// What the host saw.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The host was asked to stop it.
    pub cancelled: bool,
    /// The wall-clock timer fired.
    pub wall: bool,
    /// The processor-time limit was passed.
    pub cpu: bool,
    /// More output than allowed.
    pub output: bool,
    /// Memory limit hits that killed a process.
    pub oom_kills: u64,
    /// The polled sum of memory was over the limit (where no cgroup counts).
    pub memory_polled: bool,
    /// Forks refused by the pids limit.
    pub pids_refused: u64,
    /// The cell's file system is full, or a file hit the size limit.
    pub disk_full: bool,
    /// It held more than it may (where only summing up finds that).
    pub disk_over: bool,
    /// The worker broke the protocol, in words.
    pub violation: Option<String>,
    /// The supervisor vanished without a report.
    pub supervisor_lost: bool,
    /// The program could not be started, in words.
    pub not_started: Option<String>,
    /// Exit code of the main process.
    pub exit_code: Option<i32>,
    /// Signal that ended the main process.
    pub signal: Option<i32>,
    /// For a worker: what its Done claimed; `None`: no Done came.
    pub done: Option<bool>,
    /// For a worker: whether it had said hello.
    pub greeted: bool,
    /// The worker had said that the cell is done and did not end; the host ended it.
    pub lingered: bool,
    /// It has ended, and was to go on with the next cell of its session.
    pub was_to_stay: bool,
    /// Whether a Done was due.
    pub is_worker: bool,
    /// Highest memory in bytes.
    pub peak_memory: Option<u64>,
    /// Time on the wall.
    pub wall_time: Duration,
    /// Processor time of all processes.
    pub cpu_time: Duration,
    /// Bytes printed and logged.
    pub printed: u64,
    /// Most bytes in its file system.
    pub disk: u64,
    /// Most files and directories there.
    pub inodes: u64,
    /// It is the files that are too many there, not the bytes.
    pub inodes_full: bool,
    /// Most processes and threads that were counted.
    pub processes: u64,
    /// Most open files of one process that were counted, where the kernel tells.
    pub open_files: Option<u64>,
}

impl Evidence {
    /// Takes in the counters; what was once seen stays.
    pub fn take_in(&mut self, usage: &Usage, limits: &Limits) {
        self.oom_kills = usage.oom_kills;
        self.pids_refused = usage.pids_refused;
        self.peak_memory = self.peak_memory.max(usage.peak_memory);
        self.cpu_time = usage.cpu;
        self.disk = self.disk.max(usage.disk);
        self.inodes = self.inodes.max(usage.inodes);
        self.inodes_full |= usage.inodes_full;
        self.disk_full |= usage.disk_full || usage.disk >= limits.disk;
        self.disk_over |= usage.disk_over;
        self.processes = self.processes.max(usage.processes.unwrap_or(0));
    }

    /// The code that a worker ended with by itself, between its greeting and its Done.
    #[must_use]
    pub fn ended_itself(&self) -> Option<i32> {
        self.exit_code.filter(|code| *code != 0 && self.greeted && self.done.is_none())
    }

    /// Whether a worker ended as if all was well then.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.exit_code == Some(0) && self.greeted && self.done.is_none()
    }

    /// The signal that ended a worker then, one that a program brings upon itself.
    #[must_use]
    pub fn crashed(&self) -> Option<i32> {
        self.signal.filter(|it| CRASHES.contains(it) && self.greeted && self.done.is_none())
    }
}

/// The kernel's signal for a file that would grow over the limit.
const SIGXFSZ: i32 = 25;

/// SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
const CRASHES: [i32; 5] = [4, 6, 7, 8, 11];

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// The limit that it ran into, and the most there was of it.
    pub hit: Option<(Limit, Option<u64>)>,
    /// The sentence that explains it.
    pub text: Option<String>,
}

impl Verdict {
    fn new(outcome: Outcome, text: impl Into<Option<String>>) -> Self {
        Self { outcome, hit: None, text: text.into() }
    }

    /// That of a cell that ran into a limit.
    #[must_use]
    pub fn limit(outcome: Outcome, limit: Limit, limits: &Limits, peak: Option<u64>) -> Self {
        Self { outcome, hit: Some((limit, peak)), text: Some(limit.reached(limits, peak)) }
    }
}

/// What is said of all that was seen.
#[must_use]
pub fn decide(seen: &Evidence, limits: &Limits) -> Verdict {
    let failed = seen.exit_code != Some(0) || (seen.is_worker && seen.done != Some(true));
    let hit = |outcome, limit, peak| Verdict::limit(outcome, limit, limits, peak);
    let ms = |time: Duration| Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    if seen.cancelled {
        return Verdict::new(Outcome::Cancelled, None);
    }
    if seen.oom_kills > 0 || seen.memory_polled {
        return hit(Outcome::OutOfMemory, Limit::Memory, seen.peak_memory);
    }
    if seen.wall {
        return hit(Outcome::TimedOut, Limit::Timeout, ms(seen.wall_time));
    }
    if seen.cpu {
        return hit(Outcome::CpuExceeded, Limit::CpuTime, ms(seen.cpu_time));
    }
    if seen.output {
        return hit(Outcome::OutputExceeded, Limit::Output, Some(seen.printed));
    }
    if seen.supervisor_lost {
        let text = "the sandbox ended without a report".to_owned();
        return Verdict::new(Outcome::WorkerError, text);
    }
    if let Some(words) = &seen.not_started {
        return Verdict::new(Outcome::WorkerError, words.clone());
    }
    if seen.disk_over || (failed && (seen.disk_full || seen.signal == Some(SIGXFSZ))) {
        return match seen.inodes_full {
            true => hit(Outcome::DiskExceeded, Limit::Inodes, Some(seen.inodes)),
            false => hit(Outcome::DiskExceeded, Limit::Disk, Some(seen.disk)),
        };
    }
    if failed && seen.pids_refused > 0 {
        // A refusal shows that there were as many as there may be.
        let peak = seen.processes.max(limits.pids.into());
        let mut verdict = hit(Outcome::PidsExceeded, Limit::Pids, Some(peak));
        if let Some(text) = &mut verdict.text {
            text.push_str(&format!(", {} more refused", seen.pids_refused));
        }
        return verdict;
    }
    if failed && seen.open_files.is_some_and(|most| most >= limits.open_files.into()) {
        return hit(Outcome::FilesExceeded, Limit::OpenFiles, seen.open_files);
    }
    if seen.lingered && seen.done == Some(true) {
        return Verdict::new(Outcome::Ok, None);
    }
    if let Some(violation) = &seen.violation {
        return Verdict::new(Outcome::WorkerError, violation.clone());
    }
    if let Some(signal) = seen.signal {
        let name = signal_name(signal);
        if seen.is_worker && !seen.greeted {
            // No code of the cell's was run: what ended is the executor.
            let text = format!("the worker was ended by {name} before it said hello");
            return Verdict::new(Outcome::WorkerError, text);
        }
        let text = match signal {
            31 => format!("ended by {name}: a system call that the sandbox forbids"),
            _ => format!("ended by {name}"),
        };
        return Verdict::new(Outcome::Killed, text);
    }
    if seen.is_worker && seen.done.is_none() {
        return match seen.exit_code {
            Some(code) if !seen.greeted => {
                let text = format!("the worker ended with exit code {code} before it said hello");
                Verdict::new(Outcome::WorkerError, text)
            }
            Some(code) if code != 0 => Verdict::new(Outcome::Failed, format!("exit code {code}")),
            _ => {
                let text = "the worker ended before it said that the cell is done".to_owned();
                Verdict::new(Outcome::WorkerError, text)
            }
        };
    }
    if failed {
        let text = match seen.exit_code {
            Some(0) | None => None,
            Some(code) => Some(format!("exit code {code}")),
        };
        return Verdict::new(Outcome::Failed, text);
    }
    if seen.was_to_stay {
        let text = "it ended the process of its session, which was to go on".to_owned();
        return Verdict::new(Outcome::Failed, text);
    }
    Verdict::new(Outcome::Ok, None)
}

/// `SIGSEGV` for 11.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seen: Evidence) -> Outcome {
        decide(&seen, &Limits::default()).outcome
    }

    #[test]
    fn an_exit_code_of_137_means_nothing_by_itself() {
        assert_eq!(
            outcome(Evidence { exit_code: Some(137), ..Evidence::default() }),
            Outcome::Failed
        );
        assert_eq!(outcome(Evidence { signal: Some(9), ..Evidence::default() }), Outcome::Killed);
        let oom = Evidence { signal: Some(9), oom_kills: 1, ..Evidence::default() };
        assert_eq!(outcome(oom), Outcome::OutOfMemory);
    }

    #[test]
    fn a_claim_of_success_needs_a_good_exit() {
        let claim = Evidence {
            is_worker: true,
            greeted: true,
            done: Some(true),
            signal: Some(11),
            ..Evidence::default()
        };
        assert_eq!(outcome(claim.clone()), Outcome::Killed);
        let ungreeted = Evidence { greeted: false, done: None, ..claim };
        assert_eq!(outcome(ungreeted), Outcome::WorkerError);
        let lingering = Evidence {
            is_worker: true,
            done: Some(true),
            lingered: true,
            signal: Some(9),
            ..Evidence::default()
        };
        assert_eq!(outcome(lingering), Outcome::Ok);
        let early = Evidence { is_worker: true, exit_code: Some(3), ..Evidence::default() };
        assert_eq!(outcome(early), Outcome::WorkerError);
        let silent = Evidence { is_worker: true, exit_code: Some(0), ..Evidence::default() };
        assert_eq!(outcome(silent), Outcome::WorkerError);
        let good = Evidence {
            is_worker: true,
            done: Some(true),
            exit_code: Some(0),
            ..Evidence::default()
        };
        assert_eq!(outcome(good), Outcome::Ok);
    }

    #[test]
    fn a_cell_that_ends_the_process_of_its_session_has_failed() {
        let done = Evidence {
            exit_code: Some(0),
            done: Some(true),
            is_worker: true,
            ..Evidence::default()
        };
        assert_eq!(outcome(done.clone()), Outcome::Ok);
        assert_eq!(outcome(Evidence { was_to_stay: true, ..done }), Outcome::Failed);
    }

    #[test]
    fn a_limit_is_named_with_what_there_was() {
        let limits = Limits { open_files: 64, ..Limits::default() };
        let many = Evidence { exit_code: Some(1), open_files: Some(64), ..Evidence::default() };
        let verdict = decide(&many, &limits);
        assert_eq!(verdict.outcome, Outcome::FilesExceeded);
        assert_eq!(verdict.text.as_deref(), Some("open file limit 64, peak 64"));
        let coped = Evidence { exit_code: Some(0), ..many.clone() };
        assert_eq!(decide(&coped, &limits).outcome, Outcome::Ok);
        let few = Evidence { open_files: Some(63), ..many };
        assert_eq!(decide(&few, &limits).outcome, Outcome::Failed);
        let files = Evidence {
            exit_code: Some(1),
            disk_full: true,
            inodes_full: true,
            inodes: 65_536,
            ..Evidence::default()
        };
        let verdict = decide(&files, &limits);
        assert_eq!(verdict.hit, Some((Limit::Inodes, Some(65_536))));
        assert_eq!(verdict.outcome, Outcome::DiskExceeded);
    }

    #[test]
    fn refused_forks_do_not_fail_a_cell_that_coped() {
        let coped = Evidence { exit_code: Some(0), pids_refused: 3, ..Evidence::default() };
        assert_eq!(outcome(coped), Outcome::Ok);
        let not = Evidence { exit_code: Some(1), pids_refused: 3, ..Evidence::default() };
        assert_eq!(outcome(not), Outcome::PidsExceeded);
    }
}
