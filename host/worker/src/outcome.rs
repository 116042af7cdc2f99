//! From evidence to outcome: the one function that decides how an attempt ended.
//!
//! Everything it reads is a fact of the host (timers, counters, wait status); claims of the worker can only turn a
//! success into a failure.

use polyloom_model::{Limits, format_duration, format_size};
use polyloom_protocol::Outcome;

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
    /// Whether a Done was due.
    pub is_worker: bool,
    /// Highest memory in bytes.
    pub peak_memory: Option<u64>,
}

/// The kernel's signal for a file that would grow over the limit.
const SIGXFSZ: i32 = 25;

/// The outcome, and the sentence that explains a limit.
#[must_use]
pub fn decide(seen: &Evidence, limits: &Limits) -> (Outcome, Option<String>) {
    let failed = seen.exit_code != Some(0) || (seen.is_worker && seen.done != Some(true));
    let memory = || {
        let peak = seen.peak_memory.map_or("unknown".to_owned(), format_size);
        format!("memory limit {}, peak {peak}", format_size(limits.memory))
    };
    if seen.cancelled {
        return (Outcome::Cancelled, None);
    }
    if seen.oom_kills > 0 || seen.memory_polled {
        return (Outcome::OutOfMemory, Some(memory()));
    }
    if seen.wall {
        let limit = format_duration(limits.timeout);
        return (Outcome::TimedOut, Some(format!("time limit {limit}")));
    }
    if seen.cpu {
        let limit = limits.cpu_time.map_or_else(String::new, format_duration);
        let text = format!("processor time limit {limit}");
        return (Outcome::CpuExceeded, Some(text));
    }
    if seen.output {
        let limit = format_size(limits.output);
        let text = format!("output limit {limit}");
        return (Outcome::OutputExceeded, Some(text));
    }
    if seen.supervisor_lost {
        return (Outcome::WorkerError, Some("the sandbox ended without a report".to_owned()));
    }
    if let Some(words) = &seen.not_started {
        return (Outcome::WorkerError, Some(words.clone()));
    }
    if failed && (seen.disk_full || seen.signal == Some(SIGXFSZ)) {
        let limit = format_size(limits.disk);
        let text = format!("disk limit {limit}");
        return (Outcome::DiskExceeded, Some(text));
    }
    if failed && seen.pids_refused > 0 {
        let text =
            format!("limit of {} processes, {} more refused", limits.pids, seen.pids_refused);
        return (Outcome::PidsExceeded, Some(text));
    }
    if seen.lingered && seen.done == Some(true) {
        return (Outcome::Ok, None);
    }
    if let Some(violation) = &seen.violation {
        return (Outcome::WorkerError, Some(violation.clone()));
    }
    if let Some(signal) = seen.signal {
        let name = signal_name(signal);
        let text = match signal {
            31 => format!("ended by {name}: a system call that the sandbox forbids"),
            _ => format!("ended by {name}"),
        };
        return (Outcome::Killed, Some(text));
    }
    if seen.is_worker && seen.done.is_none() {
        return match seen.exit_code {
            Some(code) if !seen.greeted => {
                let text = format!("the worker ended with exit code {code} before it said hello");
                (Outcome::WorkerError, Some(text))
            }
            Some(code) if code != 0 => (Outcome::Failed, Some(format!("exit code {code}"))),
            _ => (
                Outcome::WorkerError,
                Some("the worker ended before it said that the cell is done".to_owned()),
            ),
        };
    }
    if failed {
        let text = match seen.exit_code {
            Some(0) | None => None,
            Some(code) => Some(format!("exit code {code}")),
        };
        return (Outcome::Failed, text);
    }
    (Outcome::Ok, None)
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
        decide(&seen, &Limits::default()).0
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
        let claim =
            Evidence { is_worker: true, done: Some(true), signal: Some(11), ..Evidence::default() };
        assert_eq!(outcome(claim), Outcome::Killed);
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
    fn refused_forks_do_not_fail_a_cell_that_coped() {
        let coped = Evidence { exit_code: Some(0), pids_refused: 3, ..Evidence::default() };
        assert_eq!(outcome(coped), Outcome::Ok);
        let not = Evidence { exit_code: Some(1), pids_refused: 3, ..Evidence::default() };
        assert_eq!(outcome(not), Outcome::PidsExceeded);
    }
}
