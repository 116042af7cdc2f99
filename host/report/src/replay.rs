//! A recording read back into the sinks it could have gone to live.

use std::io::{self, BufRead};

use polyloom_events::{Record, Sink};
use thiserror::Error;

/// Why a recording could not be replayed to its end.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It can't be read.
    #[error("can't read the recording")]
    Read(#[source] io::Error),
    /// A line is no event. Events of a newer program that this one has no words for are among these.
    #[error("line {line} of the recording is not an event this program knows")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A sink could not write.
    #[error("can't write")]
    Write(#[source] io::Error),
}

/// Longest line read; a frame of the protocol is at most a mebibyte, and JSON can make six bytes of one.
const MAX_LINE: u64 = 16 << 20;

/// Passes every record of `reader` to every sink, then ends them. Gives the number of records. A last line without its
/// end is left out: whoever wrote it died while writing.
pub fn replay(reader: &mut dyn BufRead, sinks: &mut [Box<dyn Sink>]) -> Result<u64, ReplayError> {
    let mut count = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = io::Read::take(&mut *reader, MAX_LINE);
        limited.read_until(b'\n', &mut line).map_err(ReplayError::Read)?;
        if line.last() != Some(&b'\n') && (line.len() as u64) < MAX_LINE {
            break;
        }
        let parsed: Result<Record, _> = serde_json::from_slice(&line);
        let record = parsed.map_err(|source| ReplayError::Line { line: count + 1, source })?;
        count += 1;
        for sink in &mut *sinks {
            sink.record(&record);
            sink.told();
        }
    }
    sinks.iter_mut().try_for_each(|sink| sink.finish()).map_err(ReplayError::Write)?;
    Ok(count)
}
