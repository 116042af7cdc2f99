//! Scalars as plain text, as shell cells see and write them. It knows no list and no map.

use thiserror::Error;

use super::Value;

/// The types of value that have a plain text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Empty text.
    Null,
    /// `true` or `false`.
    Bool,
    /// Decimal digits with an optional sign.
    Int,
    /// A decimal number, or `nan`, `inf`, `-inf`.
    Float,
    /// The text itself, less one newline at its end.
    Str,
}

/// Why a text is not the scalar that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {wanted}")]
pub struct TextError {
    /// The text, shortened to 80 characters.
    pub text: String,
    /// What would be valid.
    pub wanted: &'static str,
}

impl Value {
    /// The plain text of a scalar; `None` for bytes, lists and maps. Floats are written in the
    /// shortest form that reads back the same.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Null => Some(String::new()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) if value.is_nan() => Some("nan".to_owned()),
            Self::Float(value) => Some(format!("{value:?}")),
            Self::Str(value) => Some(value.clone()),
            Self::Bytes(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Reads the plain text that a cell wrote for a scalar. White space around it does not count,
    /// except for [`Scalar::Str`], where exactly one final newline does not.
    ///
    /// # Errors
    /// [`TextError`] saying what would be valid.
    pub fn from_text(text: &str, scalar: Scalar) -> Result<Self, TextError> {
        let trimmed = text.trim();
        let wrong =
            |wanted| TextError { text: trimmed.chars().take(80).collect::<String>(), wanted };
        match scalar {
            Scalar::Null if trimmed.is_empty() || trimmed == "null" => Ok(Self::Null),
            Scalar::Null => Err(wrong("empty or `null`")),
            Scalar::Bool => match trimmed {
                "true" => Ok(Self::Bool(true)),
                "false" => Ok(Self::Bool(false)),
                _ => Err(wrong("`true` or `false`")),
            },
            Scalar::Int => trimmed
                .parse()
                .map(Self::Int)
                .map_err(|_| wrong("a whole number between -2^63 and 2^63-1")),
            Scalar::Float => trimmed
                .parse()
                .map(Self::Float)
                .map_err(|_| wrong("a number, `nan`, `inf` or `-inf`")),
            Scalar::Str => Ok(Self::Str(text.strip_suffix('\n').unwrap_or(text).to_owned())),
        }
    }
}
