//! The canonical encoding under every digest this crate makes. Knows bytes, not what they mean.
//!
//! A message is a domain and then fields, in an order that the caller fixes. Domain, byte strings and texts are written as
//! their length (u64, little endian) and their bytes; counts as u64 little endian; digests as their 32 bytes.
//! Lengths come first, so that no two lists of fields give the same bytes; the domain comes first, so that the same
//! fields in another role give another digest. The digest is BLAKE3 of the whole message.

use polyloom_model::Digest;

/// A message that is being written.
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub fn new(domain: &str) -> Self {
        let mut message = Self(Vec::with_capacity(256));
        message.bytes(domain.as_bytes());
        message
    }

    pub fn count(&mut self, count: usize) -> &mut Self {
        self.0.extend_from_slice(&(count as u64).to_le_bytes());
        self
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.0.extend_from_slice(digest.as_bytes());
        self
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn finish(&self) -> Digest {
        Digest::of(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_domain_nor_field_borders_can_be_shifted() {
        let two = |domain, a, b| Message::new(domain).text(a).text(b).finish();
        let all =
            [two("d", "ab", "c"), two("d", "a", "bc"), two("d", "", "abc"), two("da", "b", "c")];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
