//! The host's words in the conversation with a worker: bytes in, reactions out. Knows no socket and no clock. Secrets are hidden
//! here, before anything is cut, so that no half of one is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use polyloom_model::{ExecutorId, Manifest, Value, WorkerSpec};
use polyloom_protocol::frame::{Decoder, PREAMBLE};
use polyloom_protocol::handshake::{Offer, VERSION, feature, negotiate, refusal};
use polyloom_protocol::messages::host::{Cancel, Credit, Describe, Exec, Save, Shutdown};
use polyloom_protocol::messages::worker::{Completions, Kept, Saved};
use polyloom_protocol::messages::{Version, kind};
use polyloom_protocol::meta::{Diagnostic, Severity};
use polyloom_protocol::state::{Accept, Conversation, State};
use polyloom_protocol::{FromHost, FromWorker, Violation};
use serde::{Deserialize, Serialize};

use crate::attempt::Live;
use crate::mask::Mask;

/// More results beyond the declared ones are left where they are.
const MOST_ARTIFACTS: usize = 64;

/// Credit of so many bytes goes back at once.
const GRANT: u64 = 64 << 10;

/// What came of some bytes.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Bytes to send.
    pub send: Vec<u8>,
    /// Things to show.
    pub live: Vec<Live>,
}

/// What is known of a worker between two cells of its session: enough for another process of this build to go on with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pause {
    agreed: Vec<String>,
    number: u64,
    /// Whether it was asked to save its state, and may still be at it.
    pub saving: bool,
}

/// What a worker answered while it ran no cell: a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// About a snapshot.
    Kept(Kept),
    /// What code may go on with.
    Completions(Completions),
    /// What of a state was saved or loaded.
    Saved(Saved),
    /// That it has done all that was asked before.
    Pong,
}

/// One worker that runs one cell, or those of a session.
pub struct Talk {
    executor: ExecutorId,
    /// What an own one's manifest says that its version is.
    version: Option<String>,
    /// What the manifest says that the worker may use.
    declared: Vec<String>,
    exec: Option<Exec>,
    /// The number of the present exec; from 1.
    number: u64,
    /// The number of the last exec that was sent: the worker goes on with others behind the present one where it is larger.
    last: u64,
    /// Whether the worker goes on after its cell.
    pub stays: bool,
    /// What was agreed that both may use.
    agreed: Vec<String>,
    /// The answer to the last question.
    pub answer: Option<Answer>,
    /// Whether its execs are inputs at a prompt.
    pub interactive: bool,
    mask: Option<Arc<Mask>>,
    decoder: Decoder,
    conversation: Conversation,
    owed: u64,
    /// Credit that was sent and that the worker has not taken yet, as far as is known.
    granted: u64,
    /// Whole frames that came.
    pub frames: u64,
    /// Bytes of logs, displays and the like: they count as output.
    pub metered: u64,
    /// What Done claimed.
    pub done: Option<bool>,
    /// What Done claimed of the session.
    pub session_changed: bool,
    /// Whether the exec left something that the host has to take before another may run: a claim.
    pub leaves: bool,
    /// The executor's own facts: claims.
    pub extras: BTreeMap<String, Value>,
    /// Outputs that Done gave in place of their files: claims.
    pub values: BTreeMap<String, Vec<u8>>,
    /// Results beyond the declared outputs: name and path below the output folder. Claims.
    pub artifacts: Vec<(String, String)>,
    /// Whether the handshake is complete.
    pub greeted: bool,
    /// Whether it may be at what a process that is gone has asked it to save.
    pub saving: bool,
    /// What it says that its functions are, once it was asked: claims.
    pub catalog: Option<Vec<BTreeMap<String, Value>>>,
}

impl Talk {
    /// A conversation with a worker of that manifest. `mask` hides what its cell may not show.
    pub fn new(manifest: &Manifest, spec: &WorkerSpec, mask: Option<Arc<Mask>>) -> Self {
        Self {
            executor: manifest.id.clone(),
            version: manifest.path.as_ref().map(|_| manifest.version.clone()),
            declared: spec.features.clone(),
            exec: None,
            number: 0,
            last: 0,
            stays: false,
            agreed: Vec::new(),
            answer: None,
            interactive: false,
            mask,
            decoder: Decoder::new(),
            conversation: Conversation::new(),
            owed: 0,
            granted: 0,
            frames: 0,
            metered: 0,
            done: None,
            session_changed: false,
            leaves: false,
            extras: BTreeMap::new(),
            values: BTreeMap::new(),
            artifacts: Vec::new(),
            greeted: false,
            saving: false,
            catalog: None,
        }
    }

    /// A conversation that another process has had until now.
    pub fn resumed(manifest: &Manifest, spec: &WorkerSpec, pause: Pause) -> Self {
        let Pause { agreed, number, saving } = pause;
        let (decoder, mut conversation) = (Decoder::resumed(), Conversation::resumed(number));
        if saving {
            // What was asked may be answered now.
            let _ = conversation.on_send(&FromHost::Save(Save { out: String::new() }), 0);
        }
        let new = Self::new(manifest, spec, None);
        let last = number;
        let (greeted, stays) = (true, true);
        Self { agreed, number, last, decoder, conversation, saving, greeted, stays, ..new }
    }

    /// What another process needs to go on; nothing while something is under way.
    pub fn pause(&self) -> Option<Pause> {
        let idle = self.greeted && self.conversation.state() == State::Idle && !self.mid_frame();
        idle.then(|| Pause { agreed: self.agreed.clone(), number: self.number, saving: false })
    }

    /// Asks for `exec` as soon as the worker has said hello; gives what is to be sent now.
    pub fn ask(&mut self, exec: Exec) -> Vec<u8> {
        let mut out = Vec::new();
        self.begin(self.last + 1);
        self.last = self.number;
        self.exec = Some(exec);
        if self.greeted {
            self.say_exec(&mut out);
        }
        out
    }

    /// Turns to the exec that was sent behind the one which is done. What has come of it already is heard of with the next bytes.
    pub fn go_on(&mut self) {
        debug_assert!(self.is_followed(), "nothing was sent behind");
        self.begin(self.number + 1);
    }

    fn begin(&mut self, number: u64) {
        self.number = number;
        (self.owed, self.granted, self.metered) = (0, 0, 0);
        (self.done, self.session_changed, self.leaves) = (None, false, false);
        (self.extras, self.values, self.artifacts) = Default::default();
    }

    /// Sends an exec behind all that were sent, where the worker takes such; gives what is to be sent now.
    pub fn ask_behind(&mut self, exec: Exec) -> Vec<u8> {
        let mut out = Vec::new();
        let after = self.last;
        self.last += 1;
        self.say(FromHost::Exec(Exec { after, ..exec }), self.last, &mut out);
        out
    }

    /// Whether its worker goes on with another exec when it is done with the present one.
    pub fn is_followed(&self) -> bool {
        self.last > self.number
    }

    /// How many execs behind the present one are done, by what has come.
    pub fn done_ahead(&self) -> usize {
        if self.is_followed() { self.decoder.waiting(kind::DONE) } else { 0 }
    }

    /// Sends the exec that waits, as far as its worker understands it.
    fn say_exec(&mut self, out: &mut Vec<u8>) {
        if let Some(exec) = self.exec.take() {
            let interactive = self.interactive && self.may(feature::INTERACTIVE);
            self.say(FromHost::Exec(Exec { interactive, ..exec }), self.number, out);
        }
    }

    /// Whether its worker keeps snapshots of a session and says whether it could.
    pub fn keeps(&self) -> bool {
        [feature::SNAPSHOT, feature::KEPT].into_iter().all(|it| self.may(it))
    }

    /// Whether a feature was agreed.
    pub fn may(&self, feature: &str) -> bool {
        self.agreed.iter().any(|it| it == feature)
    }

    /// The same, and before it has greeted whether its manifest declares the feature: who lacks it then is refused.
    pub fn takes(&self, feature: &str) -> bool {
        let by = if self.greeted { &self.agreed } else { &self.declared };
        by.iter().any(|it| it == feature)
    }

    /// A message to a worker that has greeted and runs no cell; what answers it will be in `answer`.
    pub fn say_between(&mut self, message: FromHost) -> Vec<u8> {
        let mut out = Vec::new();
        self.answer = None;
        self.say(message, 0, &mut out);
        out
    }

    /// The message that asks it for its functions, where it has some that can be called.
    pub fn describe(&mut self) -> Option<Vec<u8>> {
        let agreed = |feature: &str| self.agreed.iter().any(|it| it == feature);
        if !agreed(feature::CATALOG) || !agreed(feature::CALL) {
            return None;
        }
        let mut out = Vec::new();
        self.say(FromHost::Describe(Describe {}), 0, &mut out);
        Some(out)
    }

    /// Whether bytes have stopped in the middle of a frame; the caller times that.
    pub fn mid_frame(&self) -> bool {
        self.decoder.mid_frame()
    }

    /// Whether it matters that the worker has taken everything that was sent to it.
    pub fn grants(&self) -> bool {
        self.granted > 0 || self.owed >= GRANT
    }

    /// Hears that the worker has taken everything that was sent to it; gives what is to be sent then. Only now does credit count: a worker
    /// that does not read has none, however much the host has granted. Nothing else is sent before that, or it would not be known which part was taken.
    pub fn on_taken(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let granted = FromHost::Credit(Credit { bytes: std::mem::take(&mut self.granted) });
        // A cell that is done needs none.
        let _ = self.conversation.on_send(&granted, self.number);
        self.grant(&mut out);
        out
    }

    /// Credit goes back in large pieces, so that a chatty cell does not cost a message each.
    fn grant(&mut self, out: &mut Vec<u8>) {
        let running = self.is_running();
        if self.granted == 0 && self.owed >= GRANT && running {
            self.granted = std::mem::take(&mut self.owed);
            let message = FromHost::Credit(Credit { bytes: self.granted });
            if let Ok(bytes) = message.encode(self.number) {
                out.extend(bytes);
            }
        }
    }

    /// Whether the present exec runs, and was not told to stop.
    fn is_running(&self) -> bool {
        self.done.is_none() && matches!(self.conversation.state(), State::Busy(_))
    }

    /// Takes bytes from the worker. An error is a violation in words; the worker is to be killed.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<Reaction, String> {
        let mut reaction = Reaction::default();
        self.decoder.feed(bytes);
        // What comes after that is of the exec behind it.
        while self.done.is_none() || !self.is_followed() {
            let frame = match self.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(violation) => return Err(self.words(&violation)),
            };
            self.frames += 1;
            match self.conversation.on_frame(&frame) {
                Ok(Accept::Deliver(message)) => {
                    self.deliver(message, &frame.body, &mut reaction)?
                }
                Ok(Accept::Late | Accept::Skip) => {}
                Err(violation) => return Err(self.words(&violation)),
            }
        }
        Ok(reaction)
    }

    /// The message that asks the worker to stop, where one may be sent.
    pub fn cancel(&mut self, grace_ms: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if self.is_running() {
            self.say(FromHost::Cancel(Cancel { grace_ms }), self.number, &mut out);
        }
        out
    }

    fn words(&self, violation: &Violation) -> String {
        // The protocol has cut what it quotes, which may have left the half of a secret.
        match violation {
            Violation::DuplicateKey { .. } if self.mask.is_some() => {
                return "the worker broke the protocol: a key occurs twice in one map".to_owned();
            }
            Violation::BadMessage { message, .. } if self.mask.is_some() => {
                return format!("the worker broke the protocol: message `{message}` is malformed");
            }
            _ => {}
        }
        if self.greeted {
            return self.hidden(format!("the worker broke the protocol: {violation}"));
        }
        let refused = refusal(violation, &self.offer(&[]));
        self.hidden(format!("the worker's greeting was refused: {}", refused.reason))
    }

    /// The warning of a worker that says it is another version than its manifest's. One that names none is that.
    fn other_version(&self, said: &str) -> Option<Live> {
        let version =
            self.version.as_deref().filter(|version| !said.is_empty() && said != *version)?;
        let said = self.hidden(said.to_owned());
        let said: String = said.chars().take(64).flat_map(char::escape_debug).collect();
        let text = format!(
            "the executor `{}` says that it is version `{said}`, its manifest says `{version}`",
            self.executor
        );
        Some(Live::Diagnostic(Diagnostic::new(Severity::Warning, text)))
    }

    fn hidden(&self, mut text: String) -> String {
        if let Some(mask) = &self.mask {
            mask.hide(&mut text);
        }
        text
    }

    fn offer<'b>(&'b self, features: &'b [&'b str]) -> Offer<'b> {
        const VERSIONS: &[Version] = &[VERSION];
        Offer { executor: self.executor.as_str(), versions: VERSIONS, features }
    }

    fn say(&mut self, message: FromHost, exec: u64, out: &mut Vec<u8>) {
        // A message the conversation does not allow, or that is too large, would be a mistake of this file.
        debug_assert!(self.conversation.clone().on_send(&message, exec).is_ok(), "{message:?}");
        if self.conversation.on_send(&message, exec).is_ok()
            && let Ok(bytes) = message.encode(exec)
        {
            out.extend(bytes);
        }
    }

    fn deliver(
        &mut self,
        message: FromWorker,
        body: &[u8],
        reaction: &mut Reaction,
    ) -> Result<(), String> {
        if message.is_metered() {
            self.owed += body.len() as u64;
            self.metered += body.len() as u64;
        }
        let mut message = message;
        if let Some(mask) = &self.mask {
            hide(mask, &mut message);
        }
        match message {
            FromWorker::Hello(mut hello) => {
                if hello.executor != self.executor.as_str() {
                    hello.executor = self.hidden(hello.executor);
                }
                let declared = self.declared.clone();
                let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
                if let Some(extra) = hello.features.iter().find(|f| !declared.contains(&f.as_str()))
                {
                    let extra = self.hidden(extra.clone());
                    let shown: String =
                        extra.chars().take(64).flat_map(char::escape_debug).collect();
                    return Err(format!(
                        "the worker's greeting was refused: feature `{shown}` is not in its manifest, which declares [{}]",
                        declared.join(", ")
                    ));
                }
                reaction.send.extend(PREAMBLE);
                match negotiate(&hello, &self.offer(&declared)) {
                    Ok(ok) => {
                        self.agreed.clone_from(&ok.features);
                        self.say(FromHost::HelloOk(ok), 0, &mut reaction.send);
                    }
                    Err(no) => {
                        let text = format!("the worker's greeting was refused: {}", no.reason);
                        return Err(self.hidden(text));
                    }
                }
                let lacks = self.exec.iter().flat_map(rests_on).find(|it| !self.may(it));
                if let Some(lacks) = lacks {
                    return Err(format!(
                        "the worker's greeting was refused: its manifest declares the feature `{lacks}`, and it has not"
                    ));
                }
                self.greeted = true;
                reaction.live.extend(self.other_version(&hello.version));
                self.say_exec(&mut reaction.send);
            }
            FromWorker::Log(log) => {
                // What came in one piece is shown in one: many small logs cost as little as few large ones.
                match reaction.live.last_mut() {
                    Some(Live::Log { level, text }) if *level == log.level => {
                        text.push('\n');
                        text.push_str(&log.text);
                    }
                    _ => reaction.live.push(Live::Log { level: log.level, text: log.text }),
                }
            }
            FromWorker::Progress(p) => {
                reaction.live.push(Live::Progress { fraction: p.fraction, text: p.text });
            }
            FromWorker::Display(d) => {
                reaction.live.push(Live::Display { media: d.media, data: d.data });
            }
            FromWorker::Diagnostic(mut d) => {
                // What is not known counts as the least (SPEC, 4), and stays no text of the worker's.
                if let Severity::Other(_) = d.severity {
                    d.severity = Severity::Info;
                }
                reaction.live.push(Live::Diagnostic(d));
            }
            FromWorker::Done(done) => {
                self.done = Some(done.ok);
                self.session_changed = done.session_changed;
                self.leaves = done.leaves;
                if !done.ok || done.leaves {
                    // Those behind it are not run: their numbers are used up.
                    self.number = self.last;
                }
                self.extras = done.extras;
                if self.may(feature::VALUES) {
                    let values = done.values.into_iter();
                    self.values = values.map(|(port, value)| (port, value.into_vec())).collect();
                }
                if !self.stays {
                    let shutdown = FromHost::Shutdown(Shutdown { grace_ms: 2000 });
                    self.say(shutdown, 0, &mut reaction.send);
                }
            }
            FromWorker::Error(error) => {
                let shown: String = error.text.chars().take(400).collect();
                return Err(format!("the worker gave up: {shown}"));
            }
            FromWorker::Artifact(artifact) if self.artifacts.len() < MOST_ARTIFACTS => {
                self.artifacts.push((artifact.name, artifact.path));
            }
            FromWorker::Catalog(catalog) => self.catalog = Some(catalog.entries),
            FromWorker::Started(_) | FromWorker::Artifact(_) | FromWorker::Unknown { .. } => {}
            FromWorker::Saved(saved) => self.answer = Some(Answer::Saved(saved)),
            FromWorker::Kept(kept) => self.answer = Some(Answer::Kept(kept)),
            FromWorker::Completions(words) => self.answer = Some(Answer::Completions(words)),
            FromWorker::Pong(_) => self.answer = Some(Answer::Pong),
        }
        self.grant(&mut reaction.send);
        Ok(())
    }
}

/// Hides secrets in all that a message shows. A greeting is compared and not shown; where it is refused, the words are hidden.
fn hide(mask: &Mask, message: &mut FromWorker) {
    match message {
        FromWorker::Log(log) => mask.hide(&mut log.text),
        FromWorker::Progress(progress) => mask.hide(&mut progress.text),
        FromWorker::Display(display) => {
            mask.hide(&mut display.media);
            if let std::borrow::Cow::Owned(data) = mask.bytes(&display.data) {
                display.data = data;
            }
        }
        FromWorker::Diagnostic(diagnostic) => mask.hide_diagnostic(diagnostic),
        FromWorker::Artifact(artifact) => {
            // A path with a secret leads nowhere after this, which is meant: the name is all that would be kept of it.
            mask.hide(&mut artifact.name);
            mask.hide(&mut artifact.path);
        }
        FromWorker::Done(done) => {
            let extras = std::mem::take(&mut done.extras).into_iter();
            let hidden =
                extras.map(|(key, value)| (mask.text(&key).into_owned(), mask.value(value)));
            done.extras = hidden.collect();
        }
        FromWorker::Error(error) => {
            mask.hide(&mut error.code);
            mask.hide(&mut error.text);
        }
        FromWorker::Kept(kept) => {
            mask.hide(&mut kept.name);
            mask.hide(&mut kept.reason);
        }
        FromWorker::Completions(completions) => {
            completions.matches.iter_mut().for_each(|word| mask.hide(word));
        }
        FromWorker::Saved(saved) => {
            saved.saved.iter_mut().for_each(|name| mask.hide(name));
            for unsaved in &mut saved.unsaved {
                mask.hide(&mut unsaved.name);
                mask.hide(&mut unsaved.why);
            }
        }
        FromWorker::Hello(_)
        | FromWorker::Started(_)
        | FromWorker::Catalog(_)
        | FromWorker::Pong(_)
        | FromWorker::Unknown { .. } => {}
    }
}

/// The features without which an exec can't be understood.
fn rests_on(exec: &Exec) -> impl Iterator<Item = &'static str> {
    let told = exec.inputs.values().any(|input| input.value.is_some());
    let features = [(told, feature::VALUES), (exec.source.is_some(), feature::SOURCE)];
    features.into_iter().filter_map(|(is_so, feature)| is_so.then_some(feature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyloom_model::Kind;
    use polyloom_protocol::messages::ErrorMessage;
    use polyloom_protocol::messages::host::{Encoding, Input};
    use polyloom_protocol::messages::worker::{
        Artifact, Display, Done, Hello, Log, LogLevel, Progress,
    };

    const SECRET: &str = "hunter2 is no \"secret\"";

    fn manifest() -> Manifest {
        let argv = vec!["x".to_owned()];
        let worker = WorkerSpec {
            argv,
            protocol: vec![1],
            features: Vec::new(),
            zygote: None,
            ahead: false,
            once: None,
            library: None,
            kernel: None,
        };
        Manifest {
            id: "x".parse().unwrap(),
            version: "1".to_owned(),
            title: "x".to_owned(),
            aliases: Vec::new(),
            extensions: Vec::new(),
            tools: BTreeMap::new(),
            kind: Kind::Worker(worker),
            limits: polyloom_model::Limits::default(),
            env: BTreeMap::new(),
            diagnostics: None,
            normalise: None,
            catalog: None,
            readable: Vec::new(),
            calls: Default::default(),
            path: None,
        }
    }

    /// What a worker's messages lead to, in words; the talk itself for what it keeps.
    fn told(messages: &[(u64, FromWorker)], check: impl Fn(&Talk)) -> String {
        let manifest = manifest();
        let Kind::Worker(spec) = &manifest.kind else { unreachable!() };
        let exec = Exec { cell: "a".to_owned(), ..Exec::default() };
        let mask = Mask::new([("S", SECRET.as_bytes())]);
        let mut talk = Talk::new(&manifest, spec, Some(Arc::new(mask)));
        assert!(talk.ask(exec).is_empty());
        let mut told = String::new();
        let mut bytes = PREAMBLE.to_vec();
        for (exec, message) in messages {
            bytes.extend(message.encode(*exec).unwrap());
            match talk.on_bytes(&std::mem::take(&mut bytes)) {
                Ok(reaction) => told.push_str(&format!("{:?}", reaction.live)),
                Err(words) => told.push_str(&words),
            }
        }
        check(&talk);
        told.push_str(&format!("{:?} {:?}", talk.extras, talk.artifacts));
        told
    }

    fn hello(executor: &str, features: &[&str]) -> (u64, FromWorker) {
        let hello = Hello {
            executor: executor.to_owned(),
            version: "1".to_owned(),
            protocol: vec![VERSION],
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            runtime: String::new(),
        };
        (0, FromWorker::Hello(hello))
    }

    #[test]
    fn a_severity_that_is_none_is_the_least_and_no_text_of_the_workers() {
        let severity = Severity::Other("\u{1b}[2J".to_owned());
        let diagnostic = Diagnostic { severity, ..Diagnostic::new(Severity::Error, "x") };
        let started = (1, FromWorker::Started(Default::default()));
        let messages = [hello("x", &[]), started, (1, FromWorker::Diagnostic(diagnostic))];
        let told = told(&messages, |_| {});
        assert!(told.contains("severity: Info"), "{told}");
        assert!(!told.contains("2J"), "{told}");
    }

    #[test]
    fn no_message_of_a_worker_shows_a_secret() {
        let text = format!("it is {SECRET}!");
        let started = (1, FromWorker::Started(Default::default()));
        let log = Log { level: LogLevel::Info, text: text.clone() };
        let progress = Progress { fraction: None, text: text.clone() };
        let display = Display { media: text.clone(), data: text.clone().into_bytes() };
        let mut diagnostic = Diagnostic::new(Severity::Error, text.clone());
        diagnostic.code = Some(text.clone());
        diagnostic.file = Some(text.clone());
        let artifact = Artifact { name: text.clone(), path: text.clone(), media: None };
        let value = Value::List(vec![
            Value::Str(text.clone()),
            Value::Bytes(text.clone().into_bytes()),
            Value::Map([(text.clone(), Value::Int(1))].into()),
        ]);
        let extras = [(text.clone(), value)].into();
        let done = Done { ok: true, extras, ..Done::default() };
        let messages = [
            hello("x", &[]),
            started,
            (1, FromWorker::Log(log)),
            (1, FromWorker::Progress(progress)),
            (1, FromWorker::Display(display)),
            (1, FromWorker::Diagnostic(diagnostic)),
            (1, FromWorker::Artifact(artifact)),
            (1, FromWorker::Done(done)),
        ];
        let told = told(&messages, |talk| assert_eq!(talk.done, Some(true)));
        assert!(!told.contains("hunter2"), "{told}");
        let bytes = "[105, 116, 32, 105, 115, 32, 42, 42, 42, 33]";
        assert_eq!(told.matches(bytes).count(), 2, "{told}");
        assert_eq!(told.matches("it is ***!").count(), 11, "{told}");
    }

    #[test]
    fn who_was_promised_to_take_what_is_in_messages_has_to() {
        let mut manifest = manifest();
        let Kind::Worker(spec) = &mut manifest.kind else { unreachable!() };
        let both = [feature::VALUES, feature::SOURCE];
        spec.features = both.map(str::to_owned).into();
        let Kind::Worker(spec) = &manifest.kind else { unreachable!() };
        let cases: [(&[&str], bool, bool, bool); 5] = [
            (&both, true, true, false),
            (&[feature::SOURCE], true, false, true),
            (&[feature::VALUES], false, true, true),
            (&[feature::SOURCE], false, true, false),
            (&[], false, false, false),
        ];
        for (features, value, source, is_refused) in cases {
            let input = Input {
                r#type: "int".to_owned(),
                path: String::new(),
                encoding: Encoding::Msgpack,
                media: None,
                value: value.then(|| vec![1].into()),
            };
            let source = source.then(|| "x".to_owned());
            let exec = Exec { inputs: [("a".to_owned(), input)].into(), source, ..Exec::default() };
            let exec = Some(exec);
            let mut talk = Talk { exec, number: 1, ..Talk::new(&manifest, spec, None) };
            assert!(both.iter().all(|it| talk.takes(it)), "it has said nothing yet");
            let (_, hello) = hello("x", features);
            let bytes = [&PREAMBLE[..], &hello.encode(0).unwrap()].concat();
            assert_eq!(talk.on_bytes(&bytes).is_err(), is_refused, "{features:?}");
            assert!(is_refused || both.iter().all(|it| talk.takes(it) == features.contains(it)));
        }
    }

    /// A talk with a worker that was sent so many execs.
    fn queue(count: u64) -> Talk {
        let mut manifest = manifest();
        let features = ["session", "queue"];
        let Kind::Worker(spec) = &mut manifest.kind else { unreachable!() };
        spec.features = features.map(str::to_owned).into();
        let Kind::Worker(spec) = &manifest.kind else { unreachable!() };
        let mut talk = Talk { stays: true, ..Talk::new(&manifest, spec, None) };
        let (_, hello) = hello("x", &features);
        let bytes = [&PREAMBLE[..], &hello.encode(0).unwrap()].concat();
        talk.on_bytes(&bytes).unwrap();
        assert!(talk.greeted && talk.may(feature::QUEUE));
        let exec = Exec { cell: "a".to_owned(), session: true, ..Exec::default() };
        assert!(!talk.ask(exec.clone()).is_empty());
        for _ in 1..count {
            assert!(!talk.ask_behind(exec.clone()).is_empty());
        }
        talk
    }

    #[test]
    fn what_comes_of_a_queued_exec_is_heard_of_at_its_turn() {
        let mut talk = queue(4);
        let exec = Exec { cell: "a".to_owned(), session: true, ..Exec::default() };
        let started = || FromWorker::Started(Default::default());
        let log = |text: &str| {
            let text = text.to_owned();
            FromWorker::Log(Log { level: LogLevel::Info, text })
        };
        let done = |ok| FromWorker::Done(Done { ok, ..Done::default() });
        let said = [
            (1, started()),
            (1, log("one")),
            (1, done(true)),
            (2, started()),
            (2, log("two")),
            (2, done(false)),
        ];
        let bytes: Vec<u8> =
            said.iter().flat_map(|(exec, message)| message.encode(*exec).unwrap()).collect();
        let live = format!("{:?}", talk.on_bytes(&bytes).unwrap().live);
        assert!(live.contains("one") && !live.contains("two"), "{live}");
        assert_eq!((talk.done, talk.done_ahead(), talk.is_followed()), (Some(true), 1, true));
        assert!(talk.pause().is_none() && talk.cancel(0).is_empty());
        talk.go_on();
        assert_eq!(talk.done, None);
        let live = format!("{:?}", talk.on_bytes(&[]).unwrap().live);
        assert!(live.contains("two"), "{live}");
        // Nothing runs behind one that failed, and nothing has its number.
        assert_eq!((talk.done, talk.done_ahead(), talk.is_followed()), (Some(false), 0, false));
        assert_eq!(talk.pause().unwrap().number, 4);
        assert!(!talk.ask(exec).is_empty());
        assert!(talk.on_bytes(&started().encode(5).unwrap()).is_ok());
    }

    #[test]
    fn a_queued_exec_that_is_heard_of_before_its_turn_is_a_violation() {
        for said in [vec![2], vec![1, 3]] {
            let mut talk = queue(3);
            let done =
                |exec: &u64| FromWorker::Done(Done { ok: true, ..Done::default() }).encode(*exec);
            let bytes: Vec<u8> = said.iter().flat_map(|exec| done(exec).unwrap()).collect();
            let mut heard = talk.on_bytes(&bytes);
            if said.len() > 1 {
                talk.go_on();
                heard = talk.on_bytes(&[]);
            }
            assert!(heard.unwrap_err().contains("broke the protocol"), "{said:?}");
        }
    }

    #[test]
    fn nothing_is_run_behind_one_that_leaves_something() {
        let mut talk = queue(3);
        let done = Done { ok: true, leaves: true, ..Done::default() };
        talk.on_bytes(&FromWorker::Done(done).encode(1).unwrap()).unwrap();
        assert_eq!((talk.done, talk.is_followed()), (Some(true), false));
        assert!(talk.pause().is_some());
    }

    #[test]
    fn another_version_than_the_manifests_is_told() {
        let (_, FromWorker::Hello(greeting)) = hello("x", &[]) else { unreachable!() };
        for (said, path, told) in [
            ("1", Some("/x/executor.toml"), None),
            ("", Some("/x/executor.toml"), None),
            ("2", None, None),
            ("2", Some("/x/executor.toml"), Some("is version `2`, its manifest says `1`")),
            (SECRET, Some("/x/executor.toml"), Some("is version `***`")),
        ] {
            let manifest = Manifest { path: path.map(Into::into), ..manifest() };
            let Kind::Worker(spec) = &manifest.kind else { unreachable!() };
            let mask = Mask::new([("S", SECRET.as_bytes())]);
            let mut talk = Talk::new(&manifest, spec, Some(Arc::new(mask)));
            let version = said.to_owned();
            let hello = FromWorker::Hello(Hello { version, ..greeting.clone() });
            let bytes = [&PREAMBLE[..], &hello.encode(0).unwrap()].concat();
            let live = format!("{:?}", talk.on_bytes(&bytes).unwrap().live);
            assert_eq!(live == "[]", told.is_none(), "{live}");
            assert!(live.contains(told.unwrap_or_default()), "{live}");
        }
    }

    #[test]
    fn no_word_about_a_bad_worker_shows_a_secret() {
        for refused in [hello(SECRET, &[]), hello("x", &[SECRET])] {
            let told = told(&[refused], |_| {});
            assert!(told.contains("refused") && told.contains("***"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        // Cut at 400 characters, which would leave the half of it.
        let text = format!("{} {SECRET}", "x".repeat(385));
        let error = FromWorker::Error(ErrorMessage { code: String::new(), text });
        let told = told(&[hello("x", &[]), (0, error)], |_| {});
        assert!(told.contains("gave up") && !told.contains("hunter"), "{told}");
    }
}
