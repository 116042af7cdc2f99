//! A network of a cell's own: what it reaches is a door, and there is nothing else.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, UdpSocket},
    os::linux::net::SocketAddrExt,
    time::{Duration, Instant},
};

use polyloom_sandbox::{
    Access, Doors, Limits, Network, Opening, Policy, Sandbox, SpawnError, Spec, SpecError,
};

use crate::{
    Case,
    support::{LONG, Lab, finish, shell},
};

pub const CASES: &[Case] = &[
    ("connection_to_a_door_arrives_with_the_address_it_meant", arrives),
    ("what_is_no_door_is_not_reached", nothing_else),
    ("names_are_asked_of_the_host", names),
    ("two_cells_with_doors_do_not_meet", apart),
    ("sockets_of_the_host_are_out_of_reach", host_sockets),
    ("wrong_doors_are_refused", wrong),
];

fn spawn(lab: &Lab, ports: &[u16], spec: &Spec) -> Sandbox {
    let policy =
        Policy { network: Network::Doors(ports.to_vec()), ..Policy::untrusted(Limits::default()) };
    lab.spawner.spawn(&policy, spec).unwrap()
}

fn bash(code: &str) -> Spec {
    Spec { argv: vec!["bash".into(), "/cell/code/main.sh".into()], ..shell(code) }
}

/// Repeats what would block until it does not.
fn until<T>(mut attempt: impl FnMut() -> std::io::Result<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn arrives(lab: &Lab) {
    for meant in ["93.184.216.34", "127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "2001:db8::1"]
    {
        let code = format!("exec 3<>/dev/tcp/{meant}/443 && echo hello >&3 && head -n 1 <&3");
        let mut sandbox = spawn(lab, &[80, 443], &bash(&code));
        let Doors { mut listeners, .. } = sandbox.take_doors().unwrap();
        let ports: Vec<u16> = listeners.iter().map(|(port, _)| *port).collect();
        assert_eq!(ports, [80, 443]);
        let listener = TcpListener::from(listeners.remove(1).1);
        let (mut stream, _) = until(|| listener.accept());
        stream.set_nonblocking(false).unwrap();
        let local = stream.local_addr().unwrap();
        assert_eq!(local.ip().to_canonical().to_string(), meant);
        assert_eq!(local.port(), 443);
        let mut said = [0; 6];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(b"and back\n").unwrap();
        drop(stream);
        let done = finish(sandbox);
        assert_eq!((&said, done.stdout.as_str()), (b"hello\n", "and back\n"), "{}", done.stderr);
    }
}

fn nothing_else(lab: &Lab) {
    // A real server of this machine, which a cell that shared any of its network would reach.
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let (port, other) =
        (canary.local_addr().unwrap().port(), datagrams.local_addr().unwrap().port());
    let code = format!(
        "for to in 127.0.0.1/{port} 1.1.1.1/80 10.0.0.1/22; do (exec 3<>/dev/tcp/$to) 2>/dev/null && echo reached $to; done
         for to in 127.0.0.1/{other} 1.1.1.1/53; do (exec 3<>/dev/udp/$to; echo x >&3) 2>/dev/null; done
         (exec 3<>/dev/tcp/1.1.1.1/443) 2>/dev/null && echo door
         cat /proc/net/dev | tail -n +3 | cut -d: -f1; exit 0"
    );
    // At the number of a real server there may even be a door: it is not that server.
    let mut sandbox = spawn(lab, &[443], &bash(&code));
    let doors = sandbox.take_doors().unwrap();
    let done = finish(sandbox);
    assert_eq!(done.stdout.trim().replace(' ', ""), "door\nlo", "{}", done.stderr);
    assert_eq!(canary.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(datagrams.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(doors);
    let mut sandbox = spawn(lab, &[port], &bash(&format!("exec 3<>/dev/tcp/127.0.0.1/{port}")));
    let doors = sandbox.take_doors().unwrap();
    assert_eq!(finish(sandbox).code(), 0);
    assert_eq!(canary.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(doors);
}

fn names(lab: &Lab) {
    let mut sandbox = spawn(lab, &[443], &bash("getent ahostsv4 example.com; exit 0"));
    let socket = UdpSocket::from(sandbox.take_doors().unwrap().names);
    let mut question = [0; 512];
    let (length, from) = until(|| socket.recv_from(&mut question));
    assert!(question[..length].windows(7).any(|part| part == b"example"));
    // The same question as an answer: a response without records.
    question[2] |= 0x80;
    socket.send_to(&question[..length], from).unwrap();
    drop(socket);
    finish(sandbox);
}

fn apart(lab: &Lab) {
    let listen = "exec 3<>/dev/tcp/1.2.3.4/443; cat <&3";
    let mut first = spawn(lab, &[443], &bash(listen));
    let first_doors = first.take_doors().unwrap();
    let listener = TcpListener::from(first_doors.listeners.into_iter().next().unwrap().1);
    let (stream, _) = until(|| listener.accept());
    let code = "for to in 1.2.3.4 127.0.0.1; do exec 3<>/dev/tcp/$to/443 && echo through; done";
    let mut second = spawn(lab, &[443], &bash(code));
    let doors = second.take_doors().unwrap();
    let done = finish(second);
    // It reached its own door, twice; nothing came to the first cell's.
    assert_eq!(done.stdout, "through\nthrough\n", "{}", done.stderr);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop((doors, stream, listener));
    assert_eq!(finish(first).code(), 0);
}

fn host_sockets(lab: &Lab) {
    let name = format!("polyloom-doors-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let hidden = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    hidden.set_nonblocking(true).unwrap();
    let folder = std::env::temp_dir().canonicalize().unwrap().join(&name);
    std::fs::create_dir_all(&folder).unwrap();
    let named = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    named.set_nonblocking(true).unwrap();
    let code = format!(
        "import socket
for to in ['\\0{name}', '/data/../tmp/{name}/socket', '{}/socket']:
    try:
        socket.socket(socket.AF_UNIX).connect(to); print('reached', repr(to))
    except OSError: pass
for kind in [(2, 1, 262), (10, 1, 262), (2, 2, 136), (2, 3, 1), (17, 3, 3), (40, 1, 0), (16, 3, 0)]:
    try:
        socket.socket(*kind); print('made', kind)
    except OSError: pass
server = socket.socket()
try:
    server.bind(('0.0.0.0', 9999)); print('bound')
except OSError: pass
",
        folder.display()
    );
    let spec = Spec {
        argv: vec!["python3".into(), "-IS".into(), "-c".into(), code.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        ..Spec::default()
    };
    let done = finish(spawn(lab, &[443], &spec));
    let landlock = lab.has(polyloom_sandbox::Mechanism::Landlock);
    assert_eq!(done.stdout, if landlock { "" } else { "bound\n" }, "{}", done.stderr);
    // A socket in a folder that was opened is in view, and no more.
    let code = "import socket, os
print(os.path.exists('/srv/sockets/socket'))
for act in [lambda: socket.socket(socket.AF_UNIX).connect('/srv/sockets/socket'),
            lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '/srv/sockets/socket')]:
    try:
        act(); print('reached')
    except PermissionError: pass
socket.socketpair()
";
    let opening =
        Opening { source: folder.clone(), target: "/srv/sockets".into(), access: Access::Write };
    let spec = Spec {
        argv: vec!["python3".into(), "-IS".into(), "-c".into(), code.into()],
        openings: vec![opening],
        ..spec
    };
    let done = finish(spawn(lab, &[443], &spec));
    assert_eq!(done.stdout, "True\n", "{}", done.stderr);
    for error in [hidden.accept().unwrap_err(), named.accept().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn wrong(lab: &Lab) {
    let many: Vec<u16> = (1..=17).collect();
    for ports in [&[0][..], &[443, 443], &many] {
        let policy = Policy {
            network: Network::Doors(ports.to_vec()),
            ..Policy::untrusted(Limits::default())
        };
        match lab.spawner.spawn(&policy, &bash("true")).err() {
            Some(SpawnError::Spec(SpecError::BadDoors(count))) => assert_eq!(count, ports.len()),
            other => panic!("{other:?}"),
        }
    }
}
