//! The host's words in the conversation with a worker: bytes in, reactions out. Knows no socket and no clock.

use std::collections::BTreeMap;

use polyloom_model::{Manifest, Value, WorkerSpec};
use polyloom_protocol::frame::{Decoder, PREAMBLE};
use polyloom_protocol::handshake::{Offer, VERSION, negotiate, refusal};
use polyloom_protocol::messages::Version;
use polyloom_protocol::messages::host::{Cancel, Credit, Exec, Shutdown};
use polyloom_protocol::state::{Accept, Conversation, State};
use polyloom_protocol::{FromHost, FromWorker, Violation};

use crate::attempt::Live;

/// More results beyond the declared ones are left where they are.
const MOST_ARTIFACTS: usize = 64;

/// The only exec of a one-shot worker.
const EXEC: u64 = 1;

/// What came of some bytes.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Bytes to send.
    pub send: Vec<u8>,
    /// Things to show.
    pub live: Vec<Live>,
}

/// One worker that runs one cell.
pub struct Talk<'a> {
    manifest: &'a Manifest,
    spec: &'a WorkerSpec,
    exec: Option<Exec>,
    decoder: Decoder,
    conversation: Conversation,
    owed: u64,
    /// Whole frames that came.
    pub frames: u64,
    /// Bytes of logs, displays and the like: they count as output.
    pub metered: u64,
    /// What Done claimed.
    pub done: Option<bool>,
    /// What Done claimed of the session.
    pub session_changed: bool,
    /// The executor's own facts: claims.
    pub extras: BTreeMap<String, Value>,
    /// Results beyond the declared outputs: name and path below the output folder. Claims.
    pub artifacts: Vec<(String, String)>,
    /// Whether the handshake is complete.
    pub greeted: bool,
}

impl<'a> Talk<'a> {
    /// A conversation that will ask for `exec` as soon as the worker has said hello.
    pub fn new(manifest: &'a Manifest, spec: &'a WorkerSpec, exec: Exec) -> Self {
        Self {
            manifest,
            spec,
            exec: Some(exec),
            decoder: Decoder::new(),
            conversation: Conversation::new(),
            owed: 0,
            frames: 0,
            metered: 0,
            done: None,
            session_changed: false,
            extras: BTreeMap::new(),
            artifacts: Vec::new(),
            greeted: false,
        }
    }

    /// Whether bytes have stopped in the middle of a frame; the caller times that.
    pub fn mid_frame(&self) -> bool {
        self.decoder.mid_frame()
    }

    /// Takes bytes from the worker. An error is a violation in words; the worker is to be killed.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<Reaction, String> {
        let mut reaction = Reaction::default();
        self.decoder.feed(bytes);
        loop {
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
        if matches!(self.conversation.state(), State::Busy(_)) {
            self.say(FromHost::Cancel(Cancel { grace_ms }), EXEC, &mut out);
        }
        out
    }

    fn words(&self, violation: &Violation) -> String {
        if self.greeted {
            return format!("the worker broke the protocol: {violation}");
        }
        let refused = refusal(violation, &self.offer(&[]));
        format!("the worker's greeting was refused: {}", refused.reason)
    }

    fn offer<'b>(&'b self, features: &'b [&'b str]) -> Offer<'b> {
        const VERSIONS: &[Version] = &[VERSION];
        Offer { executor: self.manifest.id.as_str(), versions: VERSIONS, features }
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
        match message {
            FromWorker::Hello(hello) => {
                let declared: Vec<&str> = self.spec.features.iter().map(String::as_str).collect();
                if let Some(extra) = hello.features.iter().find(|f| !declared.contains(&f.as_str()))
                {
                    let shown: String =
                        extra.chars().take(64).flat_map(char::escape_debug).collect();
                    return Err(format!(
                        "the worker's greeting was refused: feature `{shown}` is not in its manifest, which declares [{}]",
                        declared.join(", ")
                    ));
                }
                reaction.send.extend(PREAMBLE);
                match negotiate(&hello, &self.offer(&declared)) {
                    Ok(ok) => self.say(FromHost::HelloOk(ok), 0, &mut reaction.send),
                    Err(no) => {
                        return Err(format!("the worker's greeting was refused: {}", no.reason));
                    }
                }
                self.greeted = true;
                if let Some(exec) = self.exec.take() {
                    self.say(FromHost::Exec(exec), EXEC, &mut reaction.send);
                }
            }
            FromWorker::Log(log) => {
                reaction.live.push(Live::Log { level: log.level, text: log.text });
            }
            FromWorker::Progress(p) => {
                reaction.live.push(Live::Progress { fraction: p.fraction, text: p.text });
            }
            FromWorker::Display(d) => {
                reaction.live.push(Live::Display { media: d.media, data: d.data });
            }
            FromWorker::Diagnostic(d) => reaction.live.push(Live::Diagnostic(d)),
            FromWorker::Done(done) => {
                self.done = Some(done.ok);
                self.session_changed = done.session_changed;
                self.extras = done.extras;
                self.say(FromHost::Shutdown(Shutdown { grace_ms: 2000 }), 0, &mut reaction.send);
            }
            FromWorker::Error(error) => {
                let shown: String = error.text.chars().take(400).collect();
                return Err(format!("the worker gave up: {shown}"));
            }
            FromWorker::Artifact(artifact) if self.artifacts.len() < MOST_ARTIFACTS => {
                self.artifacts.push((artifact.name, artifact.path));
            }
            // Catalogs and pongs were not asked for here.
            FromWorker::Started(_)
            | FromWorker::Artifact(_)
            | FromWorker::Catalog(_)
            | FromWorker::Pong(_)
            | FromWorker::Unknown { .. } => {}
        }
        // Credit goes back in large pieces, so that a chatty cell does not cost a message each.
        if self.owed >= 64 << 10 && matches!(self.conversation.state(), State::Busy(_)) {
            let bytes = std::mem::take(&mut self.owed);
            self.say(FromHost::Credit(Credit { bytes }), EXEC, &mut reaction.send);
        }
        Ok(())
    }
}
