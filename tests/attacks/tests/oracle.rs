//! The oracle itself: a host that misbehaves, played by a shell, is caught at each thing that is held against hosts.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::{TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use polyloom_attack::{Ended, Launch, Stage};

/// A stage whose host is a shell.
fn stage(limit: Duration) -> Stage {
    let mut launch = Launch::plain("/bin/sh".into());
    launch.limit = limit;
    Stage::new(launch).unwrap()
}

/// What is said against a host that does this.
fn host(script: &str) -> Ended {
    on(&stage(Duration::from_secs(30)), script)
}

fn on(stage: &Stage, script: &str) -> Ended {
    stage.write("project/host.sh", stage.canaries().fill(script)).unwrap();
    stage.call(&["host.sh".into()]).unwrap()
}

#[track_caller]
fn assert_said(ended: &Ended, words: &str) {
    let said = ended.complaints.iter().any(|complaint| complaint.contains(words));
    assert!(said, "nothing of `{words}`: {:#?}", ended.complaints);
}

#[test]
fn a_good_host_is_not_complained_of() {
    let ended = host("mkdir -p ../store/tmp; echo out; echo err >&2; exit 3");
    assert_eq!(ended.complaints, Vec::<String>::new());
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (3, "out\n", "err\n"));
}

#[test]
fn processes_that_are_left_are_found_wherever_they_went() {
    let ended = host("setsid sh -c 'sleep 600 & sleep 600' > /dev/null 2>&1 < /dev/null & exit 0");
    assert_said(&ended, "process ");
    let left: Vec<_> = ended
        .complaints
        .iter()
        .filter_map(|complaint| complaint.strip_prefix("process ")?.split(':').next()?.parse().ok())
        .filter_map(rustix::process::Pid::from_raw)
        .collect();
    assert_eq!(left.len(), 3, "{:#?}", ended.complaints);
    for pid in left {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn files_that_are_left_are_found() {
    assert_said(&host("touch \"$TMPDIR/x\""), "tmp/x` is left");
    assert_said(&host("mkdir -p ../store/tmp; touch ../store/tmp/y"), "store/tmp/y` is left");
}

#[test]
fn files_that_lend_their_owner_are_found() {
    assert_said(&host("touch x; chmod 4755 x"), "x` would run as its owner");
    assert_said(&host("touch y; chmod 2755 y"), "y` would run as its owner");
}

#[test]
fn control_groups_that_are_left_are_found() {
    let stage = stage(Duration::from_secs(30));
    let script = "for top in /sys/fs/cgroup /sys/fs/cgroup/*; do\n\
                  mkdir \"$top/polyloom-$$-1-ab-0\" 2> /dev/null && echo \"$top/polyloom-$$-1-ab-0\" && exit 0\n\
                  done";
    let ended = on(&stage, script);
    let made = ended.stdout.trim();
    if made.is_empty() {
        // Nobody can leave what nobody can make.
        assert_eq!(ended.complaints, Vec::<String>::new());
        return;
    }
    std::fs::remove_dir(made).unwrap();
    assert_said(&ended, "control group ");
}

#[test]
fn a_changed_canary_tells() {
    for script in [
        "echo more >> '@CANARY@/writable'",
        "chmod 644 '@CANARY@/secret'",
        "touch '@CANARY@/open/new'",
        "rm '@CANARY@/readable'",
        "ln '@CANARY@/program' '@CANARY@/open/program'",
    ] {
        assert_said(&host(script), "is not as it was");
    }
}

#[test]
fn a_canary_that_was_called_tells() {
    let stage = stage(Duration::from_secs(30));
    let place = |name: &str| stage.canaries().fill(name);
    let tcp: u16 = place("@TCP@").parse().unwrap();
    let udp: u16 = place("@UDP@").parse().unwrap();
    let _caller = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    assert_said(&on(&stage, "true"), "TCP socket");
    let sender = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    sender.send_to(b"x", ("127.0.0.1", udp)).unwrap();
    assert_said(&on(&stage, "true"), "UDP socket");
    let _caller = UnixStream::connect(place("@UNIX@")).unwrap();
    assert_said(&on(&stage, "true"), "unix socket");
    let name = SocketAddr::from_abstract_name(place("@ABSTRACT@")).unwrap();
    let _caller = UnixStream::connect_addr(&name).unwrap();
    assert_said(&on(&stage, "true"), "abstract socket");
    assert_eq!(on(&stage, "true").complaints, Vec::<String>::new());
}

#[test]
fn a_secret_that_got_out_is_found_in_any_file() {
    for script in [
        "printf %s \"$ATTACK_CANARY_SECRET\" > deep; mkdir -p a/b; mv deep a/b/",
        "cat '@SECRET_FILE@'",
        "cat '@SECRET_FILE@' >&2",
        "printf %s \"$ATTACK_CANARY_SECRET\" | od -An -v -tx1 | tr -d ' \\n' > hex",
        "{ head -c 1048570 /dev/zero; cat '@SECRET_FILE@'; } > across",
    ] {
        assert_said(&host(script), "the secret is in");
    }
}

#[test]
fn a_host_that_dies_or_hangs_or_panics_is_told() {
    assert_said(&host("kill -SEGV $$"), "signal 11");
    assert_said(&host("exit 101"), "panicked");
    assert_said(&host("echo \"thread 'main' panicked at x\" >&2; exit 1"), "panicked");
    assert_said(&on(&stage(Duration::from_millis(300)), "sleep 600"), "did not end");
}

#[test]
fn what_steers_a_terminal_is_told() {
    for text in ["\\033[2J", "\\r", "\\302\\233", "\\342\\200\\256"] {
        let ended = host(&format!("printf 'x{text}y\\n' >&2"));
        assert_said(&ended, "steers a terminal");
    }
}

#[test]
fn events_that_contradict_each_other_are_told() {
    let stage = stage(Duration::from_secs(30));
    // `sh run --events FILE …`: the shell runs a script of that name.
    let mut script = String::from("cat > \"$2\" <<'END'\n");
    for line in [
        r#"{"seq":1,"at_ms":0,"event":"step.planned","cell":"a","lang":"sh","action":"run","reason":""}"#,
        r#"{"seq":3,"at_ms":0,"event":"step.finished","cell":"a","lang":"sh","reason":"","attempts":1,"meta":{"outcome":"ok","exit_code":7}}"#,
        r#"{"seq":3,"at_ms":0,"event":"step.finished","cell":"b","lang":"sh","reason":"","attempts":1,"meta":{"outcome":"killed","exit_code":7}}"#,
        "no event",
    ] {
        script.push_str(line);
        script.push('\n');
    }
    script.push_str("END\n");
    stage.write("project/run", script).unwrap();
    let ended = stage.run(&[]).unwrap();
    for words in [
        "event 2 has number 3",
        "`a`: it is ok with a bad exit code",
        "`b`: it was killed without a signal",
        "`b` was planned 0 times and has 1 results",
        "the run ended 0 times",
        "does not say how it was confined",
        "an event that is none",
    ] {
        assert_said(&ended, words);
    }
}
