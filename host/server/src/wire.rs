//! What goes over the socket: one JSON object a line. The shapes, and reading a line of bounded length.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The version of requests and answers; raised when a reader of the old one would go wrong.
pub const SCHEMA: &str = "polyloom.attach/1";

/// Longest request.
pub const MAX_REQUEST: usize = 4 << 10;

/// How a run is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// As one Ctrl-C: cells are asked to end.
    Gracefully,
    /// As two: cells are ended.
    Now,
}

/// What a client wants; the first and only line it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Every event from this number on, those that have been and those to come.
    Watch {
        /// The first number; they count from 1.
        from: u64,
    },
    /// The end of the run.
    Stop(Stop),
}

#[derive(Serialize, Deserialize)]
struct RequestLine {
    schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Stop>,
}

impl Request {
    /// The request as a line.
    pub(crate) fn line(self) -> String {
        let (from, stop) = match self {
            Self::Watch { from } => (Some(from), None),
            Self::Stop(stop) => (None, Some(stop)),
        };
        line(&RequestLine { schema: SCHEMA.to_owned(), from, stop })
    }

    /// Reads a request, or says what would be valid.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let parsed: RequestLine = serde_json::from_slice(text).map_err(|error| {
            format!("the request is no JSON object with `schema` and `from` or `stop`: {error}")
        })?;
        if parsed.schema != SCHEMA {
            return Err(format!("the schema of the request is not `{SCHEMA}`"));
        }
        match (parsed.from, parsed.stop) {
            (from, None) => Ok(Self::Watch { from: from.unwrap_or(1) }),
            (None, Some(stop)) => Ok(Self::Stop(stop)),
            (Some(_), Some(_)) => Err("a request has `from` or `stop`, not both".to_owned()),
        }
    }
}

/// What a server says besides records. A line with `seq` is a record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// The request is refused, or can't be served any longer.
    Error(String),
    /// The wish to stop has been passed on.
    Stopping(Stop),
    /// The run has ended; every record was sent before.
    Exit(u8),
}

/// A value as a line.
pub(crate) fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("shapes of texts and numbers are JSON");
    text.push('\n');
    text
}

/// How reading a line came out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A whole line is in the buffer, without its end.
    Whole,
    /// The other side has closed; what is in the buffer has no end.
    Closed,
    /// It is longer than allowed.
    TooLong,
}

/// Reads on until `buffer` holds a line. Can be given up at any time and called again with the same buffer.
pub(crate) async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
    buffer: &mut Vec<u8>,
    most: usize,
) -> io::Result<Line> {
    loop {
        let there = from.fill_buf().await?;
        if there.is_empty() {
            return Ok(Line::Closed);
        }
        let end = there.iter().position(|byte| *byte == b'\n');
        let part = &there[..end.unwrap_or(there.len())];
        if buffer.len() + part.len() > most {
            return Ok(Line::TooLong);
        }
        buffer.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            return Ok(Line::Whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Request, Stop, Word, line, read_line};

    #[test]
    fn requests_are_read_as_they_are_written() {
        for request in [
            Request::Watch { from: 1 },
            Request::Watch { from: u64::MAX },
            Request::Stop(Stop::Gracefully),
            Request::Stop(Stop::Now),
        ] {
            assert_eq!(Request::parse(request.line().as_bytes()), Ok(request));
        }
        let lines = [Request::Watch { from: 7 }.line(), Request::Stop(Stop::Now).line()];
        assert_eq!(lines[0], "{\"schema\":\"polyloom.attach/1\",\"from\":7}\n");
        assert_eq!(lines[1], "{\"schema\":\"polyloom.attach/1\",\"stop\":\"now\"}\n");
        assert_eq!(line(&Word::Exit(5)), "{\"exit\":5}\n");
        assert_eq!(line(&Word::Stopping(Stop::Gracefully)), "{\"stopping\":\"gracefully\"}\n");
        assert_eq!(line(&Word::Error("no".into())), "{\"error\":\"no\"}\n");
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_would_be() {
        for (text, said) in [
            ("", "the request is no JSON object"),
            ("\u{0}", "the request is no JSON object"),
            ("[1]", "the request is no JSON object"),
            (r#"{"from":1}"#, "missing field `schema`"),
            (r#"{"schema":"polyloom.attach/2","from":1}"#, "is not `polyloom.attach/1`"),
            (r#"{"schema":"polyloom.attach/1","from":-1}"#, "the request is no JSON object"),
            (r#"{"schema":"polyloom.attach/1","stop":"later"}"#, "expected `gracefully` or `now`"),
            (r#"{"schema":"polyloom.attach/1","from":1,"stop":"now"}"#, "not both"),
        ] {
            let error = Request::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn lines_have_an_end_and_a_limit() {
        let mut text = "one\ntwo\nthree".as_bytes();
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        loop {
            buffer.clear();
            let line = read_line(&mut text, &mut buffer, 5).await.unwrap();
            seen.push(String::from_utf8(buffer.clone()).unwrap());
            if line != Line::Whole {
                assert_eq!(line, Line::Closed);
                break;
            }
        }
        assert_eq!(seen, ["one", "two", "three"]);
        let mut text = "123456\n".as_bytes();
        buffer.clear();
        assert_eq!(read_line(&mut text, &mut buffer, 5).await.unwrap(), Line::TooLong);
    }
}
