//! Every way a peer can break the protocol, as one enum. It does not know what the host does about it.

use thiserror::Error;

/// A breach of the protocol by the peer. The connection it happened on must be closed: nothing that
/// follows on it can be trusted to be framed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The first bytes are not the preamble: usually a banner printed to the wrong descriptor.
    #[error("stream does not begin with `PLYW`")]
    BadMagic,
    /// The preamble's own version is not 1.
    #[error("preamble version is {found}, supported is 1")]
    BadVersion {
        /// The version byte that came.
        found: u8,
    },
    /// The preamble's encoding is not MessagePack.
    #[error("encoding is {found}, supported is 1 (MessagePack)")]
    BadEncoding {
        /// The encoding byte that came.
        found: u8,
    },
    /// A bit or field that must be zero is not.
    #[error("reserved bits are set in the {place}")]
    ReservedBits {
        /// `preamble`, `flags` or `header`.
        place: &'static str,
    },
    /// The header claims more than the cap of its kind. Found before anything is allocated.
    #[error("frame of kind {kind} claims {length} bytes, the cap is {cap}")]
    FrameTooLarge {
        /// Kind byte of the header.
        kind: u8,
        /// Claimed body length in bytes.
        length: u32,
        /// Cap for this kind in bytes.
        cap: u32,
    },
    /// The header says that descriptors come with the frame, which no agreed feature allows.
    #[error("frame of kind {kind} carries descriptors, which were not agreed")]
    UnexpectedFds {
        /// Kind byte of the header.
        kind: u8,
    },
    /// The stream ended inside a preamble or a frame.
    #[error("stream ended inside a frame")]
    TruncatedFrame,
    /// The body ended inside a value, or a length in it points past its end.
    #[error("body ends inside a value")]
    TruncatedBody,
    /// Bytes follow the body's one map.
    #[error("{count} bytes follow the body's map")]
    TrailingBytes {
        /// How many bytes are left over.
        count: usize,
    },
    /// The body is some other value than a map.
    #[error("body is not a map")]
    BodyNotMap,
    /// A map key is not text.
    #[error("a map key is not text")]
    KeyNotText,
    /// A map holds the same key twice.
    #[error("key `{key}` occurs twice in one map")]
    DuplicateKey {
        /// The key, shortened to 64 characters.
        key: String,
    },
    /// Containers are nested too deeply.
    #[error("nesting is deeper than {limit}")]
    TooDeep {
        /// The deepest nesting allowed.
        limit: usize,
    },
    /// The body holds too many values.
    #[error("body holds more than {limit} values")]
    TooManyValues {
        /// The most values allowed.
        limit: usize,
    },
    /// An extension type, which this profile of MessagePack has none of.
    #[error("extension type is not allowed")]
    ExtType,
    /// The byte 0xc1, which MessagePack never uses.
    #[error("byte 0xc1 is never used")]
    ReservedByte,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// The body is sound MessagePack but not the message its kind announces.
    #[error("message `{message}` is malformed: {reason}")]
    BadMessage {
        /// Name of the message.
        message: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A kind that this side does not know, marked as one that must be understood.
    #[error("kind {kind} must be understood and is not known")]
    MustUnderstand {
        /// Kind byte of the header.
        kind: u8,
    },
    /// A kind that only the other side may send.
    #[error("kind {kind} was sent in the wrong direction")]
    WrongDirection {
        /// Kind byte of the header.
        kind: u8,
    },
    /// A message that is not allowed in the state of the conversation.
    #[error("`{message}` is not allowed while {state}")]
    WrongState {
        /// Name of the message.
        message: &'static str,
        /// Name of the state.
        state: &'static str,
    },
    /// An exec id that was never given out on this connection, or 0 where one is needed.
    #[error("exec id {exec} is not known on this connection")]
    UnknownExec {
        /// The id that came.
        exec: u64,
    },
    /// An exec id on a message of the connection itself.
    #[error("`{message}` belongs to the connection but names exec id {exec}")]
    ExecNotZero {
        /// Name of the message.
        message: &'static str,
        /// The id that came.
        exec: u64,
    },
    /// A message that may come once per exec came twice.
    #[error("`{message}` came twice for exec id {exec}")]
    Repeated {
        /// Name of the message.
        message: &'static str,
        /// The exec it came for.
        exec: u64,
    },
    /// A metered frame came although the credit was already overdrawn by one frame.
    #[error("sent {over} bytes beyond its credit and went on")]
    CreditOverrun {
        /// By how many bytes the credit was overdrawn before this frame.
        over: u64,
    },
    /// Too many frames for execs that are done, or of kinds that are not known.
    #[error("more than {limit} frames came for finished execs, or of unknown kinds")]
    TooManyLate {
        /// How many are let pass.
        limit: u32,
    },
}

impl Violation {
    /// The stable name of this breach, as golden vectors and `Error.code` spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadMagic => "bad_magic",
            Self::BadVersion { .. } => "bad_version",
            Self::BadEncoding { .. } => "bad_encoding",
            Self::ReservedBits { .. } => "reserved_bits",
            Self::FrameTooLarge { .. } => "frame_too_large",
            Self::UnexpectedFds { .. } => "unexpected_fds",
            Self::TruncatedFrame => "truncated_frame",
            Self::TruncatedBody => "truncated_body",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::BodyNotMap => "body_not_map",
            Self::KeyNotText => "key_not_text",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyValues { .. } => "too_many_values",
            Self::ExtType => "ext_type",
            Self::ReservedByte => "reserved_byte",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::BadMessage { .. } => "bad_message",
            Self::MustUnderstand { .. } => "must_understand",
            Self::WrongDirection { .. } => "wrong_direction",
            Self::WrongState { .. } => "wrong_state",
            Self::UnknownExec { .. } => "unknown_exec",
            Self::ExecNotZero { .. } => "exec_not_zero",
            Self::Repeated { .. } => "repeated",
            Self::CreditOverrun { .. } => "credit_overrun",
            Self::TooManyLate { .. } => "too_many_late",
        }
    }
}
