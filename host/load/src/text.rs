//! The texts of a document's tree. A flow of many cells is made of short ones, which take no memory of their own.

use std::fmt;
use std::ops::Deref;

/// So long is a text that stands in the tree itself: as much as makes it no larger than a `String`.
const SHORT: usize = 22;

/// A text that does not change.
#[derive(Clone)]
pub struct Text(Held);

#[derive(Clone)]
enum Held {
    Short(u8, [u8; SHORT]),
    Long(Box<str>),
}

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Held::Short(..) => {
                std::str::from_utf8(self.bytes()).expect("a short text is the whole of one")
            }
            Held::Long(text) => text,
        }
    }

    /// Its bytes, which are there without a look at what they say.
    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Held::Short(length, bytes) => &bytes[..usize::from(*length)],
            Held::Long(text) => text.as_bytes(),
        }
    }

    fn short(text: &str) -> Option<Self> {
        let mut bytes = [0; SHORT];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(Held::Short(u8::try_from(text.len()).ok()?, bytes)))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::short(text).unwrap_or_else(|| Self(Held::Long(text.into())))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::short(&text).unwrap_or_else(|| Self(Held::Long(text.into())))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text.0 {
            Held::Short(..) => text.as_str().to_owned(),
            Held::Long(text) => text.into(),
        }
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn short_and_long_texts_are_what_they_were() {
        assert_eq!(size_of::<Text>(), size_of::<String>());
        for length in 0..40 {
            for letter in ["a", "é", "€"] {
                let text = letter.repeat(length);
                let (one, other) = (Text::from(&*text), Text::from(text.clone()));
                assert_eq!(one, other);
                assert_eq!(one, &*text);
                assert_eq!(one.as_str(), text);
                assert_eq!(format!("{one:?} {one}"), format!("{text:?} {text}"));
                assert_eq!(String::from(other), text);
                assert_ne!(one, &*format!("{text}a"));
            }
        }
    }
}
