//! Names for a cell's resolver: each granted name gets an address that stands for it, and no other name exists.
//!
//! A question of the cell's is answered from what was granted and leaves the host for no server: what is asked tells nobody anything.
//! The format is that of RFC 1035, as far as one question and one address need it. Bytes in, bytes out; knows no socket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Addresses for names are taken from here on: 198.18.0.0/15 is for tests of networks, and nobody's (RFC 2544).
const FIRST: u32 = 0xc612_0001;
/// Names of one cell.
const MOST: usize = 4096;
/// A question has no need to be larger.
const LARGEST: usize = 1232;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// Seconds; the address stands for the name as long as the cell lives.
const TIME_TO_LIVE: u32 = 60;

/// The names that stand behind addresses.
#[derive(Debug, Default)]
pub struct Names {
    by_number: Vec<String>,
    by_name: HashMap<String, u32>,
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bytes to send back.
    Send(Vec<u8>),
    /// The same, and the name that was asked for and does not exist here.
    Unknown(Vec<u8>, String),
    /// Nothing that can be answered.
    Nothing,
}

impl Names {
    /// The name that an address stands for.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        let IpAddr::V4(address) = address else { return None };
        let index = address.to_bits().checked_sub(FIRST)?;
        self.by_number.get(index as usize).map(String::as_str)
    }

    /// The address that stands for a name; nothing when there are too many names.
    fn address_of(&mut self, name: &str) -> Option<Ipv4Addr> {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None if self.by_number.len() >= MOST => return None,
            None => {
                let index = u32::try_from(self.by_number.len()).ok()?;
                self.by_number.push(name.to_owned());
                self.by_name.insert(name.to_owned(), index);
                index
            }
        };
        Some(Ipv4Addr::from_bits(FIRST + index))
    }

    /// Answers one message. `known`: whether a name, in lower case, was granted.
    pub fn answer(&mut self, message: &[u8], known: impl Fn(&str) -> bool) -> Answer {
        const NO_ERROR: u8 = 0;
        const SERVER_FAILURE: u8 = 2;
        const NO_SUCH_NAME: u8 = 3;
        let Some(question) = Question::read(message) else { return Answer::Nothing };
        let asked = question.class == CLASS_IN && known(&question.name);
        if !asked {
            return Answer::Unknown(question.reply(NO_SUCH_NAME, None), question.name);
        }
        // The name exists and has one address, of the older kind.
        if question.kind != TYPE_A {
            return Answer::Send(question.reply(NO_ERROR, None));
        }
        match self.address_of(&question.name) {
            Some(address) => Answer::Send(question.reply(NO_ERROR, Some(address))),
            None => Answer::Send(question.reply(SERVER_FAILURE, None)),
        }
    }
}

/// A message with one plain question.
struct Question<'a> {
    head: &'a [u8],
    /// Name, type and class as they came.
    raw: &'a [u8],
    name: String,
    kind: u16,
    class: u16,
}

impl<'a> Question<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let head = message.get(..HEADER).filter(|_| message.len() <= LARGEST)?;
        // A standard query (not an answer), with one question.
        let query = head[2] & 0xf8 == 0 && head[4..6] == [0, 1];
        if !query {
            return None;
        }
        let mut at = HEADER;
        let mut name = String::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            // The two high bits are a jump elsewhere, which a question has no use for.
            let label = message.get(at..at + length).filter(|_| length < 64)?;
            at += length;
            if !name.is_empty() {
                name.push('.');
            }
            for byte in label {
                // A byte that no host name has can't be in a granted one either; it is told as what it is not.
                let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                name.push(if plain { byte.to_ascii_lowercase() as char } else { '?' });
            }
            if name.len() > 253 {
                return None;
            }
        }
        let number =
            |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let (kind, class) = (number(at)?, number(at + 2)?);
        Some(Self { head, raw: &message[HEADER..at + 4], name, kind, class })
    }

    fn reply(&self, code: u8, address: Option<Ipv4Addr>) -> Vec<u8> {
        let recursion_desired = self.head[2] & 1;
        let mut out = self.head[..2].to_vec();
        // A response, as desired, recursion available.
        out.extend([0x80 | recursion_desired, 0x80 | code]);
        out.extend([0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
        out.extend(self.raw);
        if let Some(address) = address {
            // The name of the question, which begins behind the header.
            out.extend([0xc0, 0x0c]);
            out.extend(TYPE_A.to_be_bytes());
            out.extend(CLASS_IN.to_be_bytes());
            out.extend(TIME_TO_LIVE.to_be_bytes());
            out.extend([0, 4]);
            out.extend(address.octets());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut out = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
        }
        out.push(0);
        out.extend(kind.to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        out
    }

    #[test]
    fn a_granted_name_has_one_address_and_others_do_not_exist() {
        let mut names = Names::default();
        let known = |name: &str| name == "example.com" || name.ends_with(".example.org");
        let Answer::Send(reply) = names.answer(&question("Example.COM", TYPE_A), known) else {
            panic!("no answer")
        };
        assert_eq!(reply[..12], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(reply[reply.len() - 4..], [198, 18, 0, 1]);
        assert_eq!(names.name_of("198.18.0.1".parse().unwrap()), Some("example.com"));
        // The same again, and another one.
        names.answer(&question("example.com", TYPE_A), known);
        let Answer::Send(reply) = names.answer(&question("a.example.org", TYPE_A), known) else {
            panic!("no answer")
        };
        assert_eq!(reply[reply.len() - 4..], [198, 18, 0, 2]);
        for stranger in ["198.18.0.0", "198.18.0.3", "198.17.255.255", "::1", "1.1.1.1"] {
            assert_eq!(names.name_of(stranger.parse().unwrap()), None);
        }
        // Of the other kinds it has nothing; that it exists is said.
        let Answer::Send(reply) = names.answer(&question("example.com", 28), known) else {
            panic!("no answer")
        };
        assert_eq!(reply[3] & 0xf, 0);
        let Answer::Unknown(reply, name) = names.answer(&question("evil.com", TYPE_A), known)
        else {
            panic!("no answer")
        };
        assert_eq!((reply[3] & 0xf, name.as_str()), (3, "evil.com"));
        let Answer::Unknown(_, name) = names.answer(&question("a\u{1b}[2J.com", TYPE_A), known)
        else {
            panic!("no answer")
        };
        assert_eq!(name, "a??2j.com");
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        for number in 0..MOST + 10 {
            names.answer(&question(&format!("n{number}.example.org"), TYPE_A), |_| true);
        }
        assert_eq!(names.by_number.len(), MOST);
        let Answer::Send(reply) = names.answer(&question("one-more.org", TYPE_A), |_| true) else {
            panic!("no answer")
        };
        assert_eq!(reply[3] & 0xf, 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut names = Names::default();
            match names.answer(&bytes, |name| name.len() % 2 == 0) {
                Answer::Send(reply) | Answer::Unknown(reply, _) => {
                    prop_assert_eq!(&reply[..2], &bytes[..2]);
                    prop_assert!(reply[2] & 0x80 != 0 && reply.len() <= bytes.len() + 16);
                }
                Answer::Nothing => {}
            }
        }

        #[test]
        fn a_question_with_broken_parts_is_no_trouble(
            at in 0_usize..40, byte in any::<u8>(), cut in 0_usize..40, kind in any::<u16>(),
        ) {
            let mut bytes = question("some.example.com", kind);
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            bytes.truncate(bytes.len().saturating_sub(cut % 8));
            if let Answer::Unknown(_, name) = Names::default().answer(&bytes, |_| false) {
                prop_assert!(name.chars().all(|c| c.is_ascii_graphic()));
            }
        }
    }
}
