//! An executor that misbehaves to order, to prove that the host stays correct. It knows the protocol well
//! enough to break it at one chosen place and nowhere else.
//!
//! What it does before and in the handshake is its first argument or `POLYLOOM_FAKE`; what it does in a
//! cell is the first line of the cell's code. `--help` lists both.

mod before;
mod bytes;
mod cell;
mod during;
mod order;
mod wire;

use std::process::ExitCode;

use before::Before;
use order::Order;
use wire::Wire;

fn main() -> ExitCode {
    let word = std::env::args().nth(1).or_else(|| std::env::var("POLYLOOM_FAKE").ok());
    let word = word.unwrap_or_else(|| "well".to_owned());
    if matches!(&*word, "--help" | "-h" | "help") {
        print!("{}", order::help());
        return ExitCode::SUCCESS;
    }
    let Some(before) = Before::named(&word) else {
        eprintln!("error: no behaviour `{word}` before the handshake; `--help` lists them");
        return ExitCode::from(2);
    };
    if before == Before::ExitBeforeHello {
        return ExitCode::from(3);
    }
    let stream = match polyloom_sdk::take_stream() {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let mut wire = Wire::new(stream);
    match before::greet(&mut wire, before).and_then(|()| cell::serve(&mut wire)) {
        Ok(code) => code,
        // The host closing on a misbehaving worker is what is wanted; it is not this program's error.
        Err(error) => {
            eprintln!("fake: {error}");
            ExitCode::from(4)
        }
    }
}
