//! One command in a sandbox, from the command line: `run [--bind HOST_PATH]… COMMAND [ARGUMENT]…`.
//!
//! For trying what a program does when it is confined. Prints what is enforced, passes the output on, ends with the counters.
#![allow(clippy::unwrap_used, reason = "an example")]

use std::{env, fs, io, time::Duration};

use polyloom_sandbox::{Bind, Limits, Policy, SPAWNER_ARG, Spawner, Spec};

fn main() {
    if env::args().nth(1).as_deref() == Some(SPAWNER_ARG) {
        polyloom_sandbox::spawner_main();
    }
    let spawner = Spawner::start(&env::current_exe().unwrap()).unwrap();
    let mut arguments = env::args_os().skip(1).peekable();
    let mut spec = Spec { env: vec![("PATH".into(), "/usr/bin:/bin".into())], ..Spec::default() };
    while arguments.next_if(|argument| argument == "--bind").is_some() {
        let path = arguments.next().unwrap();
        spec.binds.push(Bind { source: path.clone().into(), target: path.into() });
    }
    spec.argv = arguments.collect();

    let limits = Limits { memory: 2 << 30, ..Limits::default() };
    let mut sandbox = spawner.spawn(&Policy::untrusted(limits), &spec).unwrap();
    for (mechanism, status) in &sandbox.enforcement().mechanisms {
        eprintln!("{mechanism:10} {:7} {} {}", status.level, status.used, status.reason);
    }
    let mut pipes =
        [sandbox.take_stdout().unwrap(), sandbox.take_stderr().unwrap()].map(fs::File::from);
    let fact = loop {
        let fact = sandbox.wait(Duration::from_millis(50));
        // Both are non-blocking: an empty pipe is an error that ends the copy.
        let _ = io::copy(&mut pipes[0], &mut io::stdout());
        let _ = io::copy(&mut pipes[1], &mut io::stderr());
        if let Some(fact) = fact {
            break fact;
        }
    };
    eprintln!("{fact:?}\n{:?}", sandbox.finish());
    for entry in sandbox.collect().unwrap().list("out", Default::default()).unwrap().entries {
        eprintln!("out/{entry:?}");
    }
}
