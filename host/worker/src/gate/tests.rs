//! The gate with sockets of this machine in place of a cell's, and a resolver that says what it is told to.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn rules(texts: &[&str]) -> Vec<NetRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A resolver that gives these answers one after the other, the last for ever.
fn saying(answers: &[&[&str]]) -> (Resolver, Arc<AtomicUsize>) {
    let answers: Vec<Vec<IpAddr>> = answers
        .iter()
        .map(|list| list.iter().map(|text| text.parse().unwrap()).collect())
        .collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let resolver: Resolver = Arc::new(move |_| {
        let at = count.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let answer = answers[at].clone();
        Box::pin(async move { Ok(answer) })
    });
    (resolver, asked)
}

fn shared(texts: &[&str], resolver: Resolver) -> (Shared, mpsc::Receiver<String>) {
    let (refusals, heard) = mpsc::channel(64);
    let shared = Shared {
        rules: rules(texts),
        names: Mutex::default(),
        resolver,
        told: Mutex::default(),
        refusals,
        room: Arc::new(Semaphore::new(CONNECTIONS)),
        denied: vec!["1.1.1.0/24".parse().unwrap()],
        carrying: Arc::default(),
    };
    (shared, heard)
}

#[test]
fn literal_addresses_go_where_they_were_granted() {
    let (resolver, asked) = saying(&[&[]]);
    let (shared, _) =
        shared(&["127.0.0.1:80", "[fd00::5]:443", "localhost:9000", "example.com:443"], resolver);
    let target = |text: &str| shared.target(text.parse().unwrap());
    for granted in
        ["127.0.0.1:80", "[::ffff:127.0.0.1]:80", "[fd00::5]:443", "127.0.0.1:9000", "[::1]:9000"]
    {
        assert!(matches!(target(granted), Ok(Target::Address(_))), "{granted}");
    }
    for refused in [
        "127.0.0.1:81",
        "127.0.0.2:80",
        "[::1]:80",
        "[fd00::5]:80",
        "10.0.0.1:80",
        "198.18.0.1:443",
        "1.1.1.1:443",
    ] {
        assert_eq!(target(refused), Err(refused.to_owned()), "{refused}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn a_name_goes_to_its_own_ports() {
    let (resolver, _) = saying(&[&[]]);
    let (shared, _) = shared(&["example.com:443", "*.example.org:80"], resolver);
    let mut names = shared.names.lock().unwrap();
    for name in ["example.com", "a.example.org"] {
        let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(label.len() as u8);
            question.extend(label.as_bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        assert!(matches!(
            names.answer(&question, |name| shared.grants_name(name)),
            Answer::Send(_)
        ));
    }
    drop(names);
    let target = |text: &str| shared.target(text.parse().unwrap());
    assert_eq!(target("198.18.0.1:443"), Ok(Target::Name("example.com".to_owned())));
    assert_eq!(target("198.18.0.2:80"), Ok(Target::Name("a.example.org".to_owned())));
    assert_eq!(target("198.18.0.1:80"), Err("example.com:80".to_owned()));
    assert_eq!(target("198.18.0.2:443"), Err("a.example.org:443".to_owned()));
    assert!(shared.grants_name("example.com") && !shared.grants_name("example.org"));
}

#[tokio::test]
async fn a_name_never_leads_inside() {
    let name = || Target::Name("example.com".to_owned());
    // The first is public, and denied.
    for inside in [
        "1.1.1.1",
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "169.254.169.254",
        "::ffff:127.0.0.1",
        "fd00::1",
        "0.0.0.0",
    ] {
        let (resolver, _) = saying(&[&[inside]]);
        let (shared, _) = shared(&["example.com:80"], resolver);
        let refused = shared.connect(name(), 80).await.unwrap_err();
        assert!(refused.contains("example.com"), "{refused}");
    }
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let own = format!("127.0.0.1:{port}");
    // With a grant of its own it may; for another port that is no grant.
    for (grant, may) in [(own.as_str(), true), ("127.0.0.1:1", false), ("10.0.0.1:80", false)] {
        let (resolver, _) = saying(&[&["127.0.0.1"]]);
        let (shared, _) = shared(&[&format!("example.com:{port}"), grant], resolver);
        assert_eq!(shared.connect(name(), port).await.is_ok(), may, "{grant}");
    }
    // `localhost` is the inside that was granted by its name.
    let (resolver, _) = saying(&[&["127.0.0.1"]]);
    let (shared, _) = shared(&[&format!("localhost:{port}")], resolver);
    let local = Target::Name("localhost".to_owned());
    assert!(shared.connect(local, port).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_changes_changes_nothing() {
    // Public when it is looked at, inside when it is used: there is no second look, and each connection has its own.
    let (resolver, asked) = saying(&[&["10.255.255.1", "127.0.0.1"], &["127.0.0.1"]]);
    let (shared, _) = shared(&["example.com:80"], resolver);
    for times in 1..4 {
        let refused = shared.connect(Target::Name("example.com".to_owned()), 80).await;
        assert!(refused.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), times);
    }
}

/// Doors on this machine's loopback, and what they lead to.
async fn doors() -> (Doors, SocketAddr, SocketAddr) {
    let names = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    names.set_nonblocking(true).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (asking, door) = (names.local_addr().unwrap(), listener.local_addr().unwrap());
    let listeners = vec![(door.port(), OwnedFd::from(listener))];
    (Doors { names: names.into(), listeners }, asking, door)
}

#[tokio::test]
async fn what_is_refused_is_told_once_and_closed() {
    let (doors, asking, door) = doors().await;
    let (refusals, mut heard) = mpsc::channel(64);
    let (resolver, _) = saying(&[&[]]);
    let gate = Gate::open(doors, rules(&["example.com:443"]), vec![], resolver, refusals).unwrap();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(door).await.unwrap();
        let mut rest = Vec::new();
        // The end comes as a close or a reset.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
    let told = heard.recv().await.unwrap();
    assert!(told.contains(&format!("127.0.0.1:{}", door.port())), "{told}");
    assert!(heard.try_recv().is_err());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let question = b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x04evil\x03com\0\0\x01\0\x01";
    client.send_to(question, asking).await.unwrap();
    let mut reply = [0; 512];
    let length = client.recv(&mut reply).await.unwrap();
    assert_eq!((reply[3] & 0xf, length), (3, question.len()));
    assert!(heard.recv().await.unwrap().contains("evil.com"));
    drop(gate);
}

#[tokio::test]
async fn who_is_not_reached_is_told_and_resets_the_connection() {
    // A port that nobody listens at: it was had, and is given back.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (shared, _) = shared(&[&format!("127.0.0.1:{port}")], saying(&[&[]]).0);
    let address = Target::Address("127.0.0.1".parse().unwrap());
    let told = shared.connect(address, port).await.unwrap_err();
    let words = format!("`127.0.0.1:{port}`, which it was granted, was not reached: ");
    assert!(told.starts_with(&words) && told.contains("refused"), "{told}");
    let (named, _) = self::shared(&["example.com:80"], saying(&[&[]]).0);
    let told = named.connect(Target::Name("example.com".to_owned()), 80).await.unwrap_err();
    assert!(told.ends_with("was not reached: it has no address"), "{told}");
    let (doors, _, door) = doors().await;
    let (refusals, mut heard) = mpsc::channel(64);
    let gate = Gate::open(doors, rules(&["example.com:443"]), vec![], saying(&[&[]]).0, refusals);
    let mut stream = TcpStream::connect(door).await.unwrap();
    let ended = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(heard.recv().await.is_some());
    drop(gate);
}

#[tokio::test]
async fn bytes_are_carried_both_ways_with_their_ends() {
    // The door's own address is what the cell «meant», so a grant of it would lead to itself: a name is what leads elsewhere.
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (shared, _) = shared(&[&format!("127.0.0.1:{port}")], saying(&[&[]]).0);
    let echo = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all.reverse();
        stream.write_all(&all).await.unwrap();
    });
    let mut stream =
        shared.connect(Target::Address("127.0.0.1".parse().unwrap()), port).await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"cba");
    echo.await.unwrap();
}
