//! Sequences of frames and of what the host sends, against a second, simpler account of what is allowed.

use std::collections::BTreeSet;

use polyloom_protocol::frame::{Frame, Header};
use polyloom_protocol::messages::ErrorMessage;
use polyloom_protocol::messages::host::{
    Cancel, Complete, Credit, Describe, Exec, Forget, HelloNo, HelloOk, Load, Ping, Prepare, Reset,
    Restore, Save, Shutdown, Snapshot,
};
use polyloom_protocol::messages::worker::{
    Artifact, Catalog, Completions, Display, Done, Hello, Kept, Log, LogLevel, Pong, Progress,
    Saved, Started,
};
use polyloom_protocol::state::{End, MAX_LATE, START_CREDIT, State};
use polyloom_protocol::{Accept, Conversation, Diagnostic, FromHost, FromWorker, Severity};

use crate::Choices;

/// What must hold, whatever the order: kept apart from the machine that is tried.
#[derive(Default)]
struct Account {
    running: Option<Exec1>,
    last: u64,
    done: BTreeSet<u64>,
    greeted: bool,
    pings: u64,
    kept: u64,
    completions: u64,
    saved: u64,
    late: u32,
}

/// The exec that runs.
struct Exec1 {
    id: u64,
    started: bool,
    credit: i64,
}

/// Two bytes or more for each step.
pub fn conversation(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut talk = Conversation::new();
    let mut account = Account::default();
    while !choices.is_empty() {
        let what = choices.byte();
        let exec = exec_of(choices.byte(), account.last);
        if what & 0x80 != 0 {
            send(&mut talk, &mut account, &host(what & 0x7f, &mut choices), exec);
        } else if what & 0x40 != 0 {
            let length = usize::from(choices.byte());
            let body = choices.bytes(length).to_vec();
            let header = Header { length: length as u32, kind: what & 0x3f, flags: 0, exec };
            let frame = Frame { header, body };
            let message = FromWorker::from_frame(&frame).ok();
            let before = talk.state();
            let answer = talk.on_frame(&frame).map_err(|violation| violation.name());
            account.received(before, talk.state(), message, exec, frame.body.len(), answer);
        } else {
            let message = worker(what, &mut choices);
            // Lengths of whole frames: a few of the largest use up a credit.
            let length = usize::from(choices.byte()) << 8;
            let before = talk.state();
            let answer = talk.on_message(message.clone(), exec, length);
            let answer = answer.map_err(|violation| violation.name());
            account.received(before, talk.state(), Some(message), exec, length, answer);
        }
        account.agrees(&talk);
    }
    let end = talk.on_end();
    match account.running {
        Some(running) if end != End::Clean => assert_eq!(end, End::DuringExec(running.id)),
        _ => assert!(!matches!(end, End::DuringExec(_)), "{end:?}"),
    }
    assert_eq!(talk.state(), State::Dead);
}

/// Ids near the last one are the interesting ones.
fn exec_of(choice: u8, last: u64) -> u64 {
    match choice {
        0..=2 => last.saturating_add(choice.into()),
        3..=5 => last.saturating_sub(u64::from(choice) - 2),
        6 => 0,
        7 => u64::MAX,
        other => other.into(),
    }
}

fn send(talk: &mut Conversation, account: &mut Account, message: &FromHost, exec: u64) {
    let before = talk.state();
    if talk.on_send(message, exec).is_err() {
        assert_eq!(talk.state(), before, "a refusal changes nothing");
        return;
    }
    match message {
        FromHost::Exec(_) => {
            assert!(account.running.is_none(), "two execs at once");
            assert!(exec > account.last, "an id was given out twice");
            assert!(account.greeted, "an exec before the handshake");
            account.last = exec;
            let credit = i64::try_from(START_CREDIT).expect("a small number");
            account.running = Some(Exec1 { id: exec, started: false, credit });
        }
        FromHost::Credit(credit) => {
            let running = account.running.as_mut().expect("credit only for what runs");
            assert_eq!(running.id, exec);
            let more = i64::try_from(credit.bytes).unwrap_or(i64::MAX);
            running.credit = running.credit.saturating_add(more);
        }
        FromHost::Cancel(_) => assert_eq!(account.running.as_ref().map(|r| r.id), Some(exec)),
        FromHost::Ping(_) => account.pings += 1,
        FromHost::Snapshot(_) | FromHost::Restore(_) | FromHost::Forget(_) => account.kept += 1,
        FromHost::Complete(_) => account.completions += 1,
        FromHost::Save(_) | FromHost::Load(_) => account.saved += 1,
        FromHost::HelloOk(_) => {
            assert!(!account.greeted && before == State::Hello);
            account.greeted = true;
        }
        FromHost::Unknown { kind } => panic!("kind {kind} was sent"),
        FromHost::HelloNo(_)
        | FromHost::Prepare(_)
        | FromHost::Describe(_)
        | FromHost::Reset(_)
        | FromHost::Shutdown(_)
        | FromHost::Error(_) => {}
    }
    if talk.state() == State::Dead {
        account.running = None;
    }
}

impl Account {
    fn received(
        &mut self,
        before: State,
        after: State,
        message: Option<FromWorker>,
        exec: u64,
        length: usize,
        answer: Result<Accept, &'static str>,
    ) {
        let Ok(accept) = answer else {
            assert_eq!(after, State::Dead, "a violation ends it");
            self.running = None;
            return;
        };
        assert_ne!(before, State::Dead, "nothing is accepted after the end");
        let message = message.expect("what can't be read is never accepted");
        match accept {
            Accept::Skip => {
                assert!(matches!(message, FromWorker::Unknown { .. }) && self.greeted);
                self.late += 1;
                assert!(self.late <= MAX_LATE);
            }
            Accept::Late => {
                self.late += 1;
                assert!(self.late <= MAX_LATE);
                assert!(exec != 0 && exec <= self.last && self.greeted);
                assert_ne!(self.running.as_ref().map(|running| running.id), Some(exec));
                assert!(!matches!(message, FromWorker::Done(_)), "a second end");
            }
            Accept::Deliver(delivered) => {
                assert_eq!(delivered, message);
                self.delivered(before, &message, exec, length);
            }
        }
    }

    fn delivered(&mut self, before: State, message: &FromWorker, exec: u64, length: usize) {
        match message {
            FromWorker::Hello(_) => assert!(before == State::New && exec == 0),
            FromWorker::Error(_) => assert!(exec <= self.last),
            FromWorker::Catalog(_) => assert!(self.greeted && exec == 0),
            FromWorker::Pong(_) => {
                assert!(self.greeted && exec == 0);
                self.pings = self.pings.checked_sub(1).expect("a pong without its ping");
            }
            FromWorker::Kept(_) => {
                assert!(self.greeted && exec == 0);
                self.kept = self.kept.checked_sub(1).expect("an answer without its question");
            }
            FromWorker::Completions(_) => {
                assert!(self.greeted && exec == 0);
                self.completions = self.completions.checked_sub(1).expect("a guess unasked for");
            }
            FromWorker::Saved(_) => {
                assert!(self.greeted && exec == 0);
                self.saved = self.saved.checked_sub(1).expect("saved without being asked");
            }
            FromWorker::Unknown { .. } => panic!("an unknown message was delivered"),
            FromWorker::Started(_)
            | FromWorker::Log(_)
            | FromWorker::Progress(_)
            | FromWorker::Display(_)
            | FromWorker::Diagnostic(_)
            | FromWorker::Artifact(_)
            | FromWorker::Done(_) => {
                let running = self.running.as_mut().expect("delivered while nothing runs");
                assert_eq!(running.id, exec, "delivered for another exec");
                if message.is_metered() {
                    assert!(running.credit >= 0, "sent on beyond its credit");
                    running.credit = running.credit.saturating_sub_unsigned(length as u64);
                }
                if let FromWorker::Started(_) = message {
                    assert!(!running.started, "started twice");
                    running.started = true;
                }
                if let FromWorker::Done(_) = message {
                    assert!(self.done.insert(exec), "done twice");
                    self.running = None;
                }
            }
        }
    }

    fn agrees(&self, talk: &Conversation) {
        assert_eq!(talk.late().min(MAX_LATE), self.late);
        let theirs = match talk.state() {
            State::Busy(running) | State::Cancelling(running) | State::Draining(Some(running)) => {
                Some((running.exec, running.started, running.credit))
            }
            State::New | State::Hello | State::Idle | State::Draining(None) | State::Dead => None,
        };
        let ours = self.running.as_ref().map(|ours| (ours.id, ours.started, ours.credit));
        assert_eq!(theirs, ours);
    }
}

fn worker(what: u8, choices: &mut Choices<'_>) -> FromWorker {
    let text = String::new;
    match what % 15 {
        0 => FromWorker::Hello(Hello {
            executor: text(),
            version: text(),
            protocol: Vec::new(),
            features: Vec::new(),
            runtime: text(),
        }),
        1 => FromWorker::Started(Started {}),
        2 => FromWorker::Log(Log { level: LogLevel::Info, text: text() }),
        3 => FromWorker::Progress(Progress { fraction: None, text: text() }),
        4 => FromWorker::Display(Display { media: text(), data: Vec::new() }),
        5 => FromWorker::Diagnostic(Diagnostic {
            severity: Severity::Error,
            message: text(),
            code: None,
            file: None,
            line: None,
            col: None,
            end_line: None,
            end_col: None,
        }),
        6 => FromWorker::Artifact(Artifact { name: text(), path: text(), media: None }),
        7 => FromWorker::Done(Done::default()),
        8 => FromWorker::Catalog(Catalog::default()),
        9 => FromWorker::Pong(Pong { n: choices.byte().into() }),
        10 => FromWorker::Error(ErrorMessage { code: text(), text: text() }),
        11 => FromWorker::Kept(Kept::default()),
        12 => FromWorker::Completions(Completions::default()),
        13 => FromWorker::Saved(Saved::default()),
        _ => FromWorker::Unknown { kind: what },
    }
}

fn host(what: u8, choices: &mut Choices<'_>) -> FromHost {
    let text = String::new;
    match what % 18 {
        0 => FromHost::HelloOk(HelloOk { major: 1, minor: 0, features: Vec::new() }),
        1 => FromHost::HelloNo(HelloNo { reason: text(), supported: Vec::new() }),
        2 => FromHost::Prepare(Prepare { code: text() }),
        3 => FromHost::Exec(Exec { cell: text(), ..Exec::default() }),
        4 => FromHost::Cancel(Cancel { grace_ms: 1 }),
        5 => FromHost::Credit(Credit { bytes: choices.byte().into() }),
        6 => FromHost::Describe(Describe {}),
        7 => FromHost::Reset(Reset {}),
        8 => FromHost::Snapshot(Snapshot { name: text() }),
        9 => FromHost::Restore(Restore { name: text() }),
        10 => FromHost::Ping(Ping { n: 1 }),
        11 => FromHost::Shutdown(Shutdown { grace_ms: 1 }),
        12 => FromHost::Credit(Credit { bytes: choices.number() }),
        13 => FromHost::Forget(Forget { name: text() }),
        14 => FromHost::Complete(Complete { code: text(), cursor: 0 }),
        15 => FromHost::Save(Save { out: text() }),
        16 => FromHost::Load(Load { path: text() }),
        _ => FromHost::Error(ErrorMessage { code: text(), text: text() }),
    }
}
