//! What a hostile worker may try in a conversation, and what a well-behaved one must be allowed.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use polyloom_protocol::frame::{Decoder, Frame, PREAMBLE};
use polyloom_protocol::handshake::{Offer, VERSION, feature, negotiate, refusal};
use polyloom_protocol::messages::Version;
use polyloom_protocol::messages::host::{
    Cancel, Complete, Credit, Exec, Forget, HelloNo, HelloOk, Load, Ping, Shutdown, Snapshot,
};
use polyloom_protocol::messages::worker::{
    Artifact, Completions, Done, Hello, Kept, Log, LogLevel, Pong, Progress, Saved, Started,
};
use polyloom_protocol::state::{End, MAX_LATE, START_CREDIT, State};
use polyloom_protocol::{Accept, Conversation, FromHost, FromWorker, Value, Violation};

fn hello(versions: &[(u64, u64)]) -> Hello {
    Hello {
        executor: "fake".into(),
        version: "1".into(),
        protocol: versions.iter().map(|&(major, minor)| Version { major, minor }).collect(),
        features: vec!["progress".into(), "teleport".into()],
        runtime: String::new(),
    }
}

fn offer() -> Offer<'static> {
    Offer {
        executor: "fake",
        versions: &[VERSION],
        features: &[feature::PROGRESS, feature::SESSION],
    }
}

fn exec() -> FromHost {
    FromHost::Exec(Exec {
        cell: "c".into(),
        code: "/cell/code/c.txt".into(),
        out: "/cell/out".into(),
        ..Exec::default()
    })
}

fn done() -> FromWorker {
    FromWorker::Done(Done { ok: true, ..Done::default() })
}

fn log(length: usize) -> FromWorker {
    FromWorker::Log(Log { level: LogLevel::Info, text: "x".repeat(length) })
}

/// A conversation after its handshake.
fn idle() -> Conversation {
    let mut talk = Conversation::new();
    talk.on_message(FromWorker::Hello(hello(&[(1, 0)])), 0, 50).unwrap();
    let ok = HelloOk { major: 1, minor: 0, features: Vec::new() };
    talk.on_send(&FromHost::HelloOk(ok), 0).unwrap();
    talk
}

/// A conversation in which exec 1 is done and exec 2 is running.
fn busy() -> Conversation {
    let mut talk = idle();
    talk.on_send(&exec(), 1).unwrap();
    talk.on_message(done(), 1, 5).unwrap();
    talk.on_send(&exec(), 2).unwrap();
    talk
}

fn violation(talk: &mut Conversation, message: FromWorker, exec: u64) -> &'static str {
    let name = talk.on_message(message, exec, 10).expect_err("a violation").name();
    assert_eq!(talk.state(), State::Dead);
    name
}

#[test]
fn a_cell_runs_and_the_worker_ends() {
    let mut talk = idle();
    talk.on_send(&exec(), 1).unwrap();
    for message in [
        FromWorker::Started(Started {}),
        log(3),
        FromWorker::Progress(Progress { fraction: Some(1.0), text: String::new() }),
        done(),
    ] {
        let accept = talk.on_message(message.clone(), 1, 10).unwrap();
        assert_eq!(accept, Accept::Deliver(message));
    }
    assert_eq!(talk.state(), State::Idle);
    talk.on_send(&FromHost::Ping(Ping { n: 1 }), 0).unwrap();
    talk.on_message(FromWorker::Pong(Pong { n: 1 }), 0, 3).unwrap();
    talk.on_send(&FromHost::Shutdown(Shutdown { grace_ms: 1 }), 0).unwrap();
    assert_eq!(talk.on_end(), End::Clean);
}

/// An exec that is sent behind another.
fn behind(after: u64) -> FromHost {
    let FromHost::Exec(exec) = exec() else { unreachable!() };
    FromHost::Exec(Exec { after, ..exec })
}

#[test]
fn execs_behind_the_running_one_take_their_turns() {
    let mut talk = busy();
    talk.on_send(&behind(2), 3).unwrap();
    talk.on_send(&behind(3), 4).unwrap();
    talk.on_send(&behind(3), 5).expect_err("4 is the last one");
    talk.on_send(&exec(), 5).expect_err("it follows none");
    talk.on_send(&FromHost::Cancel(Cancel { grace_ms: 1 }), 3).expect_err("not its turn");
    for exec in [2, 3, 4] {
        talk.on_message(FromWorker::Started(Started {}), exec, 1).unwrap();
        talk.on_message(log(1), exec, 5).unwrap();
        talk.on_message(done(), exec, 5).unwrap();
    }
    assert_eq!(talk.state(), State::Idle);
    talk.on_send(&behind(4), 5).expect_err("4 is done");
    talk.on_send(&exec(), 5).unwrap();
}

#[test]
fn nothing_runs_behind_an_exec_that_failed_or_leaves_something() {
    for (ok, leaves) in [(false, false), (true, true)] {
        let mut talk = busy();
        talk.on_send(&behind(2), 3).unwrap();
        talk.on_send(&behind(3), 4).unwrap();
        talk.on_send(&FromHost::Shutdown(Shutdown { grace_ms: 1 }), 0).expect_err("others wait");
        let done = Done { ok, leaves, ..Done::default() };
        talk.on_message(FromWorker::Done(done), 2, 5).unwrap();
        assert_eq!(talk.state(), State::Idle);
        talk.on_send(&exec(), 4).expect_err("it was never run, and is not to be");
        talk.on_send(&exec(), 5).unwrap();
        talk.on_message(FromWorker::Started(Started {}), 5, 1).unwrap();
    }
}

#[test]
fn an_exec_says_nothing_before_its_turn() {
    for message in [FromWorker::Started(Started {}), log(1), done()] {
        let mut talk = busy();
        talk.on_send(&behind(2), 3).unwrap();
        assert_eq!(violation(&mut talk, message, 3), "wrong_state");
    }
}

#[test]
fn a_cancelled_exec_still_owes_its_done() {
    let mut talk = busy();
    let cancel = FromHost::Cancel(Cancel { grace_ms: 10 });
    talk.on_send(&cancel, 2).unwrap();
    talk.on_send(&cancel, 2).unwrap();
    assert!(matches!(talk.state(), State::Cancelling(_)));
    talk.on_message(log(1), 2, 5).unwrap();
    talk.on_message(done(), 2, 5).unwrap();
    assert_eq!(talk.state(), State::Idle);
}

#[test]
fn shutdown_during_an_exec_lets_it_finish_but_nothing_else_begin() {
    let mut talk = busy();
    talk.on_send(&FromHost::Shutdown(Shutdown { grace_ms: 1 }), 0).unwrap();
    talk.on_send(&FromHost::Credit(Credit { bytes: 1 }), 2).unwrap();
    talk.on_message(done(), 2, 5).unwrap();
    assert_eq!(talk.state(), State::Draining(None));
    assert!(talk.on_send(&exec(), 3).is_err());
}

#[test]
fn the_end_of_the_stream_says_what_was_lost() {
    assert_eq!(Conversation::new().on_end(), End::BeforeHandshake);
    assert_eq!(idle().on_end(), End::Clean);
    assert_eq!(busy().on_end(), End::DuringExec(2));
}

#[test]
fn a_host_cannot_misuse_the_conversation() {
    let mut talk = idle();
    assert!(talk.on_send(&exec(), 0).is_err());
    talk.on_send(&exec(), 5).unwrap();
    let misuse = talk.on_send(&exec(), 6).unwrap_err();
    assert_eq!(misuse.to_string(), "host may not send `Exec` for exec id 6 while busy");
    assert!(talk.on_send(&FromHost::Ping(Ping { n: 1 }), 0).is_err());
    assert!(talk.on_send(&FromHost::Cancel(Cancel { grace_ms: 0 }), 4).is_err());
    talk.on_message(done(), 5, 5).unwrap();
    assert!(talk.on_send(&exec(), 5).is_err(), "ids only grow");
    talk.on_send(&exec(), 6).unwrap();
}

/// E05: a huge length prefix.
#[test]
fn huge_length_is_refused_at_the_header_without_waiting() {
    let mut decoder = Decoder::new();
    decoder.feed(&PREAMBLE);
    decoder.feed(&[0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0]);
    assert_eq!(decoder.next_frame(), Ok(None), "the header is not whole yet");
    decoder.feed(&[0; 8]);
    let refused = Violation::FrameTooLarge { kind: 3, length: u32::MAX, cap: 64 << 10 };
    assert_eq!(decoder.next_frame(), Err(refused.clone()));
    decoder.feed(&[0; 1000]);
    assert_eq!(decoder.next_frame(), Err(refused), "it stays broken");
    assert!(!decoder.mid_frame(), "and keeps nothing");
}

/// E10 and E11: amplification and hostile counts.
#[test]
fn amplifying_bodies_are_refused() {
    let mut nils = vec![0xdd, 0, 0x0f, 0xff, 0xf0];
    nils.resize((1 << 20) - 16, 0xc0);
    let too_many = Err(Violation::TooManyValues { limit: 65_536 });
    assert_eq!(FromWorker::decode(9, &nils), too_many);
    let inside = [b"\x81\xa7entries".to_vec(), nils].concat();
    assert_eq!(FromWorker::decode(9, &inside), too_many);
    for head in [b"\xdd", b"\xdf", b"\xdb", b"\xc6"] {
        let body = [head, &b"\xff\xff\xff\xff"[..]].concat();
        assert_eq!(FromWorker::decode(9, &body), Err(Violation::TruncatedBody));
    }
}

/// E13: nesting far beyond any stack.
#[test]
fn deep_nesting_is_refused_without_recursion() {
    let deep = vec![0x91; 1 << 20];
    assert_eq!(FromWorker::decode(9, &deep), Err(Violation::TooDeep { limit: 32 }));
    assert_eq!(Value::from_msgpack(&deep).unwrap_err().name(), "too_deep");
    assert!(Value::from_json(&"[".repeat(1 << 20)).is_err());
}

/// E14: messages in the wrong state.
#[test]
fn messages_in_the_wrong_state_are_violations() {
    let hello = || FromWorker::Hello(hello(&[(1, 0)]));
    assert_eq!(violation(&mut Conversation::new(), done(), 1), "wrong_state");
    assert_eq!(violation(&mut idle(), hello(), 0), "wrong_state");
    assert_eq!(violation(&mut busy(), hello(), 0), "wrong_state");
    assert_eq!(violation(&mut idle(), done(), 1), "unknown_exec");
    assert_eq!(violation(&mut idle(), FromWorker::Pong(Pong { n: 1 }), 0), "wrong_state");
}

/// E14: an exec is done exactly once, and what comes late is dropped, up to a number.
#[test]
fn late_frames_are_dropped_and_counted() {
    assert_eq!(violation(&mut busy(), done(), 1), "repeated");
    let mut talk = busy();
    let artifact =
        || FromWorker::Artifact(Artifact { name: "a".into(), path: "a".into(), media: None });
    for count in 1..=MAX_LATE {
        assert_eq!(talk.on_message(artifact(), 1, 10), Ok(Accept::Late));
        assert_eq!(talk.late(), count);
    }
    assert_eq!(violation(&mut talk, artifact(), 1), "too_many_late");
    // So are those of kinds that nobody knows.
    let (mut talk, unknown) = (busy(), || FromWorker::Unknown { kind: 40 });
    for _ in 1..=MAX_LATE {
        assert_eq!(talk.on_message(unknown(), 2, 10), Ok(Accept::Skip));
    }
    assert_eq!(violation(&mut talk, unknown(), 2), "too_many_late");
}

#[test]
fn an_exec_starts_once() {
    let mut talk = busy();
    talk.on_message(FromWorker::Started(Started {}), 2, 1).unwrap();
    assert_eq!(violation(&mut talk, FromWorker::Started(Started {}), 2), "repeated");
}

/// E16: ids of this connection only.
#[test]
fn ids_never_given_out_are_violations() {
    for id in [0, 3, u64::MAX] {
        assert_eq!(violation(&mut busy(), log(1), id), "unknown_exec");
        assert_eq!(violation(&mut busy(), done(), id), "unknown_exec");
    }
}

/// E17: credit may be overdrawn by one frame and no further.
#[test]
fn credit_is_overdrawn_by_one_frame_at_most() {
    let mut talk = busy();
    let half = usize::try_from(START_CREDIT / 2).unwrap();
    talk.on_message(log(1), 2, half).unwrap();
    talk.on_message(log(1), 2, half).unwrap();
    talk.on_message(log(1), 2, 100).unwrap();
    let mut paid = talk.clone();
    paid.on_send(&FromHost::Credit(Credit { bytes: 100 }), 2).unwrap();
    paid.on_message(log(1), 2, 100).unwrap();
    let mut unmetered = talk.clone();
    unmetered.on_message(done(), 2, 100).unwrap();
    assert_eq!(talk.on_message(log(1), 2, 1), Err(Violation::CreditOverrun { over: 100 }));
}

#[test]
fn each_exec_begins_with_fresh_credit() {
    let mut talk = busy();
    talk.on_message(log(1), 2, usize::try_from(START_CREDIT).unwrap() + 1).unwrap();
    talk.on_message(done(), 2, 5).unwrap();
    talk.on_send(&exec(), 3).unwrap();
    talk.on_message(log(1), 3, 1000).unwrap();
}

#[test]
fn unknown_kinds_are_skipped() {
    let skipped = busy().on_message(FromWorker::Unknown { kind: 40 }, 9, 5);
    assert_eq!(skipped, Ok(Accept::Skip));
}

#[test]
fn a_malformed_frame_ends_the_conversation() {
    let mut decoder = Decoder::new();
    decoder.feed(&PREAMBLE);
    decoder.feed(b"\x02\0\0\0\x08\0\0\0\x02\0\0\0\0\0\0\0\x80\x80");
    let frame: Frame = decoder.next_frame().unwrap().unwrap();
    let mut talk = busy();
    assert_eq!(talk.on_frame(&frame), Err(Violation::TrailingBytes { count: 1 }));
    assert_eq!(talk.state(), State::Dead);
}

/// Answers of a session come for what was asked, and once.
#[test]
fn answers_without_a_question_are_violations() {
    let name = || "n".to_owned();
    let asked = [
        FromHost::Snapshot(Snapshot { name: name() }),
        FromHost::Forget(Forget { name: name() }),
        FromHost::Complete(Complete { code: name(), cursor: 1 }),
        FromHost::Load(Load { path: name() }),
    ];
    let kept = || FromWorker::Kept(Kept { name: name(), ..Kept::default() });
    let answers = [
        kept(),
        FromWorker::Completions(Completions::default()),
        kept(),
        FromWorker::Saved(Saved::default()),
    ];
    let mut talk = idle();
    for message in &asked {
        talk.on_send(message, 0).unwrap();
        assert!(talk.on_send(message, 1).is_err());
    }
    for message in &answers {
        let accept = talk.on_message(message.clone(), 0, 9);
        assert_eq!(accept, Ok(Accept::Deliver(message.clone())));
    }
    for message in answers {
        let mut talk = talk.clone();
        let violation = talk.on_message(message, 0, 9).unwrap_err();
        assert_eq!(violation.name(), "wrong_state");
    }
    talk.on_send(&exec(), 1).unwrap();
    for message in &asked {
        assert!(talk.on_send(message, 0).is_err(), "{}", message.name());
    }
}

/// E26: version games.
#[test]
fn versions_are_negotiated_or_refused_in_words() {
    let ok = negotiate(&hello(&[(1, 7), (3, 0)]), &offer()).unwrap();
    assert_eq!((ok.major, ok.minor, ok.features), (1, 0, vec!["progress".to_owned()]));

    let reason = |hello| negotiate(&hello, &offer()).unwrap_err().reason;
    assert_eq!(
        reason(hello(&[])),
        "no common protocol version: the worker speaks none, the host 1.0"
    );
    assert_eq!(
        reason(hello(&[(u64::MAX, 0)])),
        "no common protocol version: the worker speaks 18446744073709551615.0, the host 1.0"
    );
    assert_eq!(reason(hello(&[(1, 0); 17])), "17 protocol versions are listed, at most 16 may be");
    assert_eq!(
        reason(Hello { features: vec![String::new(); 65], ..hello(&[(1, 0)]) }),
        "65 features are listed, at most 64 may be"
    );
    assert_eq!(
        reason(Hello { executor: "other".into(), ..hello(&[(1, 0)]) }),
        "executor is `other`, the manifest says `fake`"
    );
    // 100,000 entries do not fit a `Hello`'s frame; the header alone refuses them.
    let hello = FromWorker::Hello(hello(&[(1, 0); 100_000]));
    assert!(hello.encode(0).is_err());
    let no = refusal(&Violation::BadMagic, &offer());
    let expected =
        HelloNo { reason: "stream does not begin with `PLYW`".into(), supported: vec![VERSION] };
    assert_eq!(no, expected);
    let mut talk = Conversation::new();
    talk.on_send(&FromHost::HelloNo(no), 0).unwrap();
    assert_eq!(talk.state(), State::Dead);
}
