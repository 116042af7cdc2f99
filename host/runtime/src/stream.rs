//! The event stream on its way to the sinks: numbers and times records, and hands each to every sink in order.

use std::collections::VecDeque;
use std::time::Instant;

use polyloom_events::{Event, Record, Sink};

/// The sinks of a run.
pub struct Stream {
    sinks: Vec<Box<dyn Sink>>,
    started: Instant,
    seq: u64,
    /// What may not be said yet, with all that came after it, which only waits for that.
    held: VecDeque<Held>,
}

enum Held {
    Back(Event),
    Behind(Event),
}

impl Stream {
    /// A stream whose times count from `started`: when the user asked, so that loading and planning are in them.
    #[must_use]
    pub fn new(sinks: Vec<Box<dyn Sink>>, started: Instant) -> Self {
        Self { sinks, started, seq: 0, held: VecDeque::new() }
    }

    /// Milliseconds since it started.
    #[must_use]
    pub fn now_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1e3
    }

    /// When something was, in milliseconds since it started; less than 0 before.
    #[must_use]
    pub fn ms_of(&self, at: Instant) -> f64 {
        let since = at.saturating_duration_since(self.started).as_secs_f64();
        (since - self.started.saturating_duration_since(at).as_secs_f64()) * 1e3
    }

    /// Keeps an event until what it tells of is committed; what is said meanwhile comes after it.
    pub fn hold(&mut self, event: Event) {
        self.held.push_back(Held::Back(event));
    }

    /// How many events are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Says what was held.
    pub fn release(&mut self) {
        self.release_first(self.held.len());
    }

    /// Says the first so many of what was held, and what only waited for them.
    pub fn release_first(&mut self, mut count: usize) {
        while let Some(held) =
            self.held.pop_front_if(|held| count > 0 || matches!(held, Held::Behind(_)))
        {
            count = count.saturating_sub(1);
            let (Held::Back(mut event) | Held::Behind(mut event)) = held;
            let now = self.now_ms();
            if let Event::StepFinished { meta, .. } | Event::StepRetried { meta, .. } = &mut event
                && let Some(times) = &mut meta.times
            {
                times.told(now);
            }
            self.hand_out(now, event);
        }
        self.sinks.iter_mut().for_each(|sink| sink.told());
    }

    /// Hands an event to every sink, or holds it behind those that are held.
    pub fn say(&mut self, event: Event) {
        self.held.push_back(Held::Behind(event));
        if self.held.len() == 1 {
            self.release();
        }
    }

    fn hand_out(&mut self, at_ms: f64, event: Event) {
        self.seq += 1;
        let record = Record { seq: self.seq, at_ms, event };
        for sink in &mut self.sinks {
            sink.record(&record);
        }
    }

    /// Steps whose results stand, all at this moment: `records` gives two for each, numbered and timed as told, and is asked only where a
    /// sink has to see each.
    pub fn stood(&mut self, steps: u64, records: impl FnOnce(u64, f64) -> Option<Vec<Record>>) {
        let mut ask = Some(records);
        let (first, at_ms) = (self.seq + 1, self.now_ms());
        let mut all = Vec::new();
        for sink in &mut self.sinks {
            if sink.stood(steps) {
                continue;
            }
            if let Some(records) = ask.take() {
                all = records(first, at_ms).unwrap_or_default();
            }
            all.iter().for_each(|record| sink.record(record));
            sink.told();
        }
        self.seq += 2 * steps;
    }

    /// Ends every sink; what could not be written. A reader that has gone away (`| head`) is no error of the run.
    pub fn end(&mut self) -> Option<std::io::Error> {
        self.finish().err().filter(|error| error.kind() != std::io::ErrorKind::BrokenPipe)
    }

    /// Ends every sink; gives the first error of writing.
    fn finish(&mut self) -> std::io::Result<()> {
        let mut result = Ok(());
        for sink in &mut self.sinks {
            let ended = sink.finish();
            if result.is_ok() {
                result = ended;
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    struct Noted(Arc<Mutex<Vec<String>>>);

    impl Sink for Noted {
        fn record(&mut self, record: &Record) {
            if let Event::Warning { text } = &record.event {
                let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                noted.push(format!("{} {text}", record.seq));
            }
        }

        fn finish(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_comes_after_an_event_that_is_held_is_said_after_it() {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let mut stream = Stream::new(vec![Box::new(Noted(Arc::clone(&noted)))], Instant::now());
        let warning = |text: &str| Event::Warning { text: text.to_owned() };
        let said = || noted.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
        stream.say(warning("a"));
        stream.hold(warning("b"));
        stream.say(warning("c"));
        assert_eq!((said(), stream.held()), ("1 a".to_owned(), 2));
        stream.release();
        stream.say(warning("d"));
        assert_eq!((said(), stream.held()), ("1 a, 2 b, 3 c, 4 d".to_owned(), 0));
        for (text, is_held) in [("e", true), ("f", true), ("g", false), ("h", true), ("i", false)] {
            if is_held { stream.hold(warning(text)) } else { stream.say(warning(text)) }
        }
        stream.release_first(1);
        assert!(said().ends_with("4 d, 5 e"), "{}", said());
        stream.release_first(1);
        assert!(said().ends_with("5 e, 6 f, 7 g"), "{}", said());
        stream.release_first(1);
        assert!(said().ends_with("8 h, 9 i") && stream.held() == 0, "{}", said());
    }
}
