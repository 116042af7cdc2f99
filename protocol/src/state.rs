//! The host's side of a conversation with one worker, as a pure state machine. It knows no socket and
//! no clock, and believes nothing: it says only whether a message may come now.

use std::collections::VecDeque;

use crate::messages::{FromHost, FromWorker};
use crate::{Frame, Violation};

/// Metered bytes an exec may send before the first `Credit`.
pub const START_CREDIT: u64 = 256 << 10;
/// Frames for finished execs, and of unknown kinds, that are dropped before they count as a violation.
pub const MAX_LATE: u32 = 1000;

/// Where the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing has come yet; only `Hello` may.
    New,
    /// `Hello` has come; the host owes `HelloOk` or `HelloNo`, the worker owes silence.
    Hello,
    /// No exec is running.
    Idle,
    /// An exec is running.
    Busy(Running),
    /// An exec was cancelled; its `Done` is still due.
    Cancelling(Running),
    /// The worker was told to end. An exec may still be running.
    Draining(Option<Running>),
    /// It is over; nothing may come.
    Dead,
}

/// What is known of the running exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its id.
    pub exec: u64,
    /// Whether `Started` has come.
    pub started: bool,
    /// Metered bytes it may still send; negative once overdrawn.
    pub credit: i64,
}

impl Running {
    fn new(exec: u64) -> Self {
        Self { exec, started: false, credit: signed(START_CREDIT) }
    }
}

/// What to do with a frame that is allowed.
#[derive(Debug, Clone, PartialEq)]
pub enum Accept {
    /// Handle this message.
    Deliver(FromWorker),
    /// It belongs to a finished exec; drop it.
    Late,
    /// Its kind is not known; skip it.
    Skip,
}

/// How the worker's end of the stream is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Between execs, or after `Shutdown`.
    Clean,
    /// Before the handshake was complete.
    BeforeHandshake,
    /// While this exec was running.
    DuringExec(u64),
}

/// The host wants to send what the conversation does not allow: a mistake of the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host may not send `{message}` for exec id {exec} while {state}")]
pub struct Misuse {
    /// Name of the message.
    pub message: &'static str,
    /// The exec id it was to carry.
    pub exec: u64,
    /// Name of the state.
    pub state: &'static str,
}

/// The conversation with one worker.
#[derive(Debug, Clone)]
pub struct Conversation {
    state: State,
    last_exec: u64,
    /// Execs that were sent behind the one that runs, in order. They are run only as far as each before them ended well and left nothing.
    behind: VecDeque<u64>,
    late: u32,
    owed: Owed,
}

/// Answers that the worker owes, by their kind.
#[derive(Debug, Clone, Copy, Default)]
struct Owed {
    pongs: u32,
    kept: u32,
    completions: u32,
    saved: u32,
}

impl Default for Conversation {
    fn default() -> Self {
        Self::new()
    }
}

impl Conversation {
    /// A conversation in which nothing has been said.
    #[must_use]
    pub fn new() -> Self {
        let behind = VecDeque::new();
        Self { state: State::New, last_exec: 0, behind, late: 0, owed: Owed::default() }
    }

    /// One that goes on between two execs, of which the last had this id: another process of the host's has had it until now.
    #[must_use]
    pub fn resumed(last_exec: u64) -> Self {
        Self { state: State::Idle, last_exec, ..Self::new() }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// How many late and unknown frames were dropped so far.
    #[must_use]
    pub fn late(&self) -> u32 {
        self.late
    }

    /// Reads a frame and judges it; see [`Conversation::on_message`].
    ///
    /// # Errors
    /// The violation it shows; the conversation is dead after it.
    pub fn on_frame(&mut self, frame: &Frame) -> Result<Accept, Violation> {
        match FromWorker::from_frame(frame) {
            Ok(message) => self.on_message(message, frame.header.exec, frame.body.len()),
            Err(violation) => {
                self.state = State::Dead;
                Err(violation)
            }
        }
    }

    /// Judges a message that came for `exec` in a body of `length` bytes, and moves on.
    ///
    /// # Errors
    /// The violation it shows; the conversation is dead after it.
    pub fn on_message(
        &mut self,
        message: FromWorker,
        exec: u64,
        length: usize,
    ) -> Result<Accept, Violation> {
        let result = self.judge(message, exec, length);
        if result.is_err() {
            self.state = State::Dead;
        }
        result
    }

    /// Says that the stream ended.
    pub fn on_end(&mut self) -> End {
        let end = match self.state {
            State::New | State::Hello => End::BeforeHandshake,
            State::Idle | State::Draining(None) | State::Dead => End::Clean,
            State::Busy(running) | State::Cancelling(running) | State::Draining(Some(running)) => {
                End::DuringExec(running.exec)
            }
        };
        self.state = State::Dead;
        end
    }

    /// Records a message that the host is about to send.
    ///
    /// # Errors
    /// [`Misuse`]; nothing changes then.
    pub fn on_send(&mut self, message: &FromHost, exec: u64) -> Result<(), Misuse> {
        let misuse = Misuse { message: message.name(), exec, state: self.state_name() };
        let next = match (message, self.state, exec) {
            (FromHost::HelloOk(_), State::Hello, 0) => State::Idle,
            (FromHost::HelloNo(_), State::New | State::Hello, 0) => State::Dead,
            (FromHost::Exec(it), State::Idle, exec) if exec > self.last_exec && it.after == 0 => {
                self.last_exec = exec;
                State::Busy(Running::new(exec))
            }
            (FromHost::Exec(it), State::Busy(_), exec)
                if exec > self.last_exec && it.after == self.last_exec =>
            {
                self.last_exec = exec;
                self.behind.push_back(exec);
                self.state
            }
            (FromHost::Cancel(_), State::Busy(running), exec) if exec == running.exec => {
                State::Cancelling(running)
            }
            (FromHost::Cancel(_), State::Cancelling(running), exec) if exec == running.exec => {
                self.state
            }
            (FromHost::Credit(credit), state, exec) if exec != 0 => {
                top_up(state, exec, credit.bytes).ok_or(misuse)?
            }
            (
                FromHost::Ping(_)
                | FromHost::Snapshot(_)
                | FromHost::Restore(_)
                | FromHost::Forget(_)
                | FromHost::Complete(_)
                | FromHost::Save(_)
                | FromHost::Load(_),
                State::Idle,
                0,
            ) => {
                if let Some(owed) = self.owed.by(message) {
                    *owed = owed.saturating_add(1);
                }
                State::Idle
            }
            (FromHost::Prepare(_) | FromHost::Describe(_) | FromHost::Reset(_), State::Idle, 0) => {
                State::Idle
            }
            (FromHost::Shutdown(_), State::Idle, 0) => State::Draining(None),
            (FromHost::Shutdown(_), State::Busy(running) | State::Cancelling(running), 0)
                if self.behind.is_empty() =>
            {
                State::Draining(Some(running))
            }
            (FromHost::Shutdown(_), State::Draining(_), 0) => self.state,
            (FromHost::Error(_), _, 0) => State::Dead,
            (
                FromHost::HelloOk(_)
                | FromHost::HelloNo(_)
                | FromHost::Prepare(_)
                | FromHost::Exec(_)
                | FromHost::Cancel(_)
                | FromHost::Credit(_)
                | FromHost::Describe(_)
                | FromHost::Reset(_)
                | FromHost::Snapshot(_)
                | FromHost::Restore(_)
                | FromHost::Forget(_)
                | FromHost::Complete(_)
                | FromHost::Save(_)
                | FromHost::Load(_)
                | FromHost::Ping(_)
                | FromHost::Shutdown(_)
                | FromHost::Error(_)
                | FromHost::Unknown { .. },
                _,
                _,
            ) => return Err(misuse),
        };
        self.state = next;
        Ok(())
    }

    fn judge(
        &mut self,
        message: FromWorker,
        exec: u64,
        length: usize,
    ) -> Result<Accept, Violation> {
        let name = message.name();
        let wrong_state = Violation::WrongState { message: name, state: self.state_name() };
        match message {
            FromWorker::Hello(_) => match self.state {
                State::New if exec == 0 => {
                    self.state = State::Hello;
                    Ok(Accept::Deliver(message))
                }
                State::New => Err(Violation::ExecNotZero { message: name, exec }),
                State::Hello
                | State::Idle
                | State::Busy(_)
                | State::Cancelling(_)
                | State::Draining(_)
                | State::Dead => Err(wrong_state),
            },
            // An error may come at any time: it is how a worker says why it gives up.
            FromWorker::Error(_) if self.state == State::Dead => Err(wrong_state),
            FromWorker::Error(_) if exec == 0 || exec <= self.last_exec => {
                Ok(Accept::Deliver(message))
            }
            FromWorker::Error(_) => Err(Violation::UnknownExec { exec }),
            FromWorker::Catalog(_)
            | FromWorker::Pong(_)
            | FromWorker::Kept(_)
            | FromWorker::Completions(_)
            | FromWorker::Saved(_) => match self.state {
                State::New | State::Hello | State::Dead => Err(wrong_state),
                State::Idle | State::Busy(_) | State::Cancelling(_) | State::Draining(_) => {
                    if exec != 0 {
                        return Err(Violation::ExecNotZero { message: name, exec });
                    }
                    if let Some(owed) = self.owed.of(&message) {
                        *owed = owed.checked_sub(1).ok_or(wrong_state)?;
                    }
                    Ok(Accept::Deliver(message))
                }
            },
            FromWorker::Unknown { .. } => match self.state {
                State::New | State::Hello | State::Dead => Err(wrong_state),
                State::Idle | State::Busy(_) | State::Cancelling(_) | State::Draining(_) => {
                    self.drop_one().map(|()| Accept::Skip)
                }
            },
            FromWorker::Started(_)
            | FromWorker::Log(_)
            | FromWorker::Progress(_)
            | FromWorker::Display(_)
            | FromWorker::Diagnostic(_)
            | FromWorker::Artifact(_)
            | FromWorker::Done(_) => self.judge_exec(message, exec, length, wrong_state),
        }
    }

    /// Counts a frame that is dropped: nothing else bounds how many there are.
    fn drop_one(&mut self) -> Result<(), Violation> {
        self.late += 1;
        match self.late > MAX_LATE {
            true => Err(Violation::TooManyLate { limit: MAX_LATE }),
            false => Ok(()),
        }
    }

    /// Judges a message that belongs to an exec.
    fn judge_exec(
        &mut self,
        message: FromWorker,
        exec: u64,
        length: usize,
        wrong_state: Violation,
    ) -> Result<Accept, Violation> {
        let name = message.name();
        let (is_done, goes_on) = match &message {
            FromWorker::Done(done) => (true, done.ok && !done.leaves),
            _ => (false, false),
        };
        let running = match &mut self.state {
            State::New | State::Hello | State::Dead => return Err(wrong_state),
            State::Idle | State::Draining(None) => None,
            State::Busy(running) | State::Cancelling(running) | State::Draining(Some(running)) => {
                Some(running)
            }
        };
        let Some(running) = running.filter(|running| running.exec == exec) else {
            if self.behind.contains(&exec) {
                return Err(wrong_state);
            }
            // Ids grow on a connection, so an id up to the last one that neither runs nor waits is finished, or is never run.
            if exec == 0 || exec > self.last_exec {
                return Err(Violation::UnknownExec { exec });
            }
            if is_done {
                return Err(Violation::Repeated { message: name, exec });
            }
            return self.drop_one().map(|()| Accept::Late);
        };
        if let FromWorker::Started(_) = message {
            if running.started {
                return Err(Violation::Repeated { message: name, exec });
            }
            running.started = true;
        }
        if message.is_metered() {
            if running.credit < 0 {
                return Err(Violation::CreditOverrun { over: running.credit.unsigned_abs() });
            }
            running.credit = running.credit.saturating_sub_unsigned(length as u64);
        }
        if is_done {
            if !goes_on {
                self.behind.clear();
            }
            let next = self.behind.pop_front().map(Running::new);
            self.state = match self.state {
                State::Draining(_) => State::Draining(None),
                State::New
                | State::Hello
                | State::Idle
                | State::Busy(_)
                | State::Cancelling(_)
                | State::Dead => next.map_or(State::Idle, State::Busy),
            };
        }
        Ok(Accept::Deliver(message))
    }

    fn state_name(&self) -> &'static str {
        match self.state {
            State::New => "new",
            State::Hello => "hello",
            State::Idle => "idle",
            State::Busy(_) => "busy",
            State::Cancelling(_) => "cancelling",
            State::Draining(_) => "draining",
            State::Dead => "dead",
        }
    }
}

impl Owed {
    /// The count that a message from the host adds to.
    fn by(&mut self, message: &FromHost) -> Option<&mut u32> {
        match message {
            FromHost::Ping(_) => Some(&mut self.pongs),
            FromHost::Snapshot(_) | FromHost::Restore(_) | FromHost::Forget(_) => {
                Some(&mut self.kept)
            }
            FromHost::Complete(_) => Some(&mut self.completions),
            FromHost::Save(_) | FromHost::Load(_) => Some(&mut self.saved),
            FromHost::HelloOk(_)
            | FromHost::HelloNo(_)
            | FromHost::Prepare(_)
            | FromHost::Exec(_)
            | FromHost::Cancel(_)
            | FromHost::Credit(_)
            | FromHost::Describe(_)
            | FromHost::Reset(_)
            | FromHost::Shutdown(_)
            | FromHost::Error(_)
            | FromHost::Unknown { .. } => None,
        }
    }

    /// The count that an answer takes from. A catalog may come at any time: it is asked for once.
    fn of(&mut self, message: &FromWorker) -> Option<&mut u32> {
        match message {
            FromWorker::Pong(_) => Some(&mut self.pongs),
            FromWorker::Kept(_) => Some(&mut self.kept),
            FromWorker::Completions(_) => Some(&mut self.completions),
            FromWorker::Saved(_) => Some(&mut self.saved),
            FromWorker::Hello(_)
            | FromWorker::Started(_)
            | FromWorker::Log(_)
            | FromWorker::Progress(_)
            | FromWorker::Display(_)
            | FromWorker::Diagnostic(_)
            | FromWorker::Artifact(_)
            | FromWorker::Done(_)
            | FromWorker::Catalog(_)
            | FromWorker::Error(_)
            | FromWorker::Unknown { .. } => None,
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The state with more credit for `exec`, if that one is running.
fn top_up(state: State, exec: u64, bytes: u64) -> Option<State> {
    let add = |running: Running| {
        let credit = running.credit.saturating_add(signed(bytes));
        (running.exec == exec).then_some(Running { credit, ..running })
    };
    match state {
        State::Busy(running) => add(running).map(State::Busy),
        State::Cancelling(running) => add(running).map(State::Cancelling),
        State::Draining(Some(running)) => {
            add(running).map(|running| State::Draining(Some(running)))
        }
        State::New | State::Hello | State::Idle | State::Draining(None) | State::Dead => None,
    }
}
