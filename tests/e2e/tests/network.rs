//! Network for cells that ask for it: what was granted is reached by ordinary programs, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use polyloom_test_e2e::{Place, missing, needs};

/// A server on this machine's loopback that gives one page, and how often it was asked.
fn server(page: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.extend(byte);
                }
                let length = page.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
                );
            });
        }
    });
    (port, asked)
}

fn text(place: &Place, cell: &str) -> String {
    let shown = place.polyloom(&["show", "latest", cell, "--format", "json"]).json();
    shown["meta"]["stdout"]["text"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn ordinary_programs_reach_what_was_granted() {
    needs!("python3", "bash");
    let (port, asked) = server("a page");
    let mut flow = String::from(
        r#"
[cells.python]
lang = "python"
code = '''
import urllib.request
for host in ("127.0.0.1", "localhost"):
    print(urllib.request.urlopen(f"http://{host}:PORT/", timeout=10).read().decode())
'''
allow = { net = ["127.0.0.1:PORT"] }
[cells.bash]
lang = "shell"
code = '''
exec 3<>/dev/tcp/127.0.0.1/PORT
printf 'GET / HTTP/1.0\r\n\r\n' >&3
tail -n 1 <&3
'''
allow = { net = ["127.0.0.1:PORT"] }
"#,
    );
    let mut cells = vec![("python", "a page\na page\n"), ("bash", "a page")];
    if !missing(&["node"]) {
        flow.push_str(
            r#"
[cells.node]
lang = "javascript"
code = '''
const http = require("http");
const page = await new Promise((done, failed) => http.get("http://localhost:PORT/", (answer) => {
  let all = ""; answer.on("data", (part) => all += part); answer.on("end", () => done(all));
}).on("error", failed));
console.log(page);
'''
allow = { net = ["localhost:PORT"] }
"#,
        );
        cells.push(("node", "a page\n"));
    }
    if !missing(&["curl"]) {
        flow.push_str(
            r#"
[cells.curl]
lang = "sh"
code = "curl -sS --max-time 10 http://127.0.0.1:PORT/"
allow = { net = ["127.0.0.1:PORT"] }
"#,
        );
        cells.push(("curl", "a page"));
    }
    let place = Place::flow(&flow.replace("PORT", &port.to_string()));
    let run = place.run(&["-k", "--allow-net=127.0.0.1,localhost"]);
    for (cell, page) in &cells {
        assert_eq!(run.outcome(cell), "ok", "{}", run.messages(cell));
        assert_eq!(&text(&place, cell), page, "{cell}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), cells.len() + 1);
    let level = run.level("bash", "network");
    assert_eq!(level, "full");
}

#[test]
fn what_was_not_granted_is_not_reached_and_is_told() {
    needs!("python3");
    let (granted, _) = server("granted");
    let (other, asked) = server("a secret of the host");
    let place = Place::flow(
        &r#"
[cells.a]
lang = "python"
code = '''
import socket, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:GRANTED/", timeout=10).read().decode())
def attempt(what, act):
    try:
        act(); print("reached", what)
    except OSError:
        pass
def ask(host, port):
    with socket.create_connection((host, port), 5) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        if not s.recv(100):
            raise OSError
for host in ("127.0.0.1", "localhost", "127.0.0.2", "10.0.0.1", "169.254.169.254", "1.1.1.1", "::1"):
    for port in (OTHER, GRANTED):
        if (host, port) not in (("127.0.0.1", GRANTED), ("localhost", GRANTED)):
            attempt((host, port), lambda: ask(host, port))
attempt("name", lambda: socket.getaddrinfo("data.stolen.example.com", 80))
def datagram():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    s.sendto(b"x", ("127.0.0.1", OTHER))
    s.recv(1)
attempt("udp", datagram)
for kind in ((2, 1, 262), (2, 3, 1), (17, 3, 0), (40, 1, 0)):
    attempt(kind, lambda: socket.socket(*kind))
attempt("bind", lambda: socket.socket().bind(("0.0.0.0", 7777)))
'''
allow = { net = ["127.0.0.1:GRANTED"] }
"#
        .replace("GRANTED", &granted.to_string())
        .replace("OTHER", &other.to_string()),
    );
    let run = place.run(&["--allow-net"]).exits(0);
    assert_eq!(text(&place, "a"), "granted\n");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let told = run.messages("a");
    assert!(told.contains("data.stolen.example.com"), "{told}");
    assert!(told.contains(&format!("10.0.0.1:{granted}")), "{told}");
    // Without a grant it does not run at all, and a grant for one port is none for another.
    for flags in [&[][..], &["--allow-net=127.0.0.1:1"], &["--allow-net", "--deny-net=127.0.0.0/8"]]
    {
        let words = [&["-f"], flags].concat();
        assert_eq!(place.run(&words).outcome("a"), "denied");
    }
}

#[test]
fn what_a_cell_sent_before_it_ended_arrives() {
    needs!("python3");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut all, mut part) = (0, [0; 8 << 10]);
        // Slower than it was sent.
        while let Ok(count @ 1..) = stream.read(&mut part) {
            all += count;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        all
    });
    let place = Place::flow(
        &r#"
[cells.a]
lang = "python"
code = '''
import socket
socket.create_connection(("127.0.0.1", PORT)).sendall(b"x" * 1_000_000)
'''
allow = { net = ["127.0.0.1:PORT"] }
"#
        .replace("PORT", &port.to_string()),
    );
    let _ = place.run(&["-A"]).exits(0);
    assert_eq!(reader.join().unwrap(), 1_000_000);
}
