//! What is behind the doors of a cell's network: the hosts and ports it was granted, and nothing else.
//!
//! The cell connects to an address; the door it arrives at says which. An address that stands for a name leads to that name, which is
//! resolved here and now: the address that was looked at is the one that is connected to, so an answer that changes (DNS rebinding) changes
//! nothing. Bytes are passed on unread. Everything ends with the gate.

mod address;
mod names;

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polyloom_model::{Host, NetGrant, NetRule};
use polyloom_sandbox::Doors;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use names::{Answer, Names};

/// Connections of one cell at once; further ones wait.
const CONNECTIONS: usize = 128;
/// For what a dead cell had sent to arrive.
const FAREWELL: Duration = Duration::from_secs(2);
/// For the name to be resolved and one of its hosts to answer.
const CONNECT: Duration = Duration::from_secs(30);
/// Refusals that are told to the person, each once.
const TOLD: usize = 20;
/// A longer question is none.
const QUESTION: usize = 2048;

/// The addresses of a name, as asked now.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
/// Who knows the addresses of names.
pub type Resolver = Arc<dyn Fn(&str) -> Resolving + Send + Sync>;

/// The host's own resolver.
pub fn system() -> Resolver {
    Arc::new(|name| {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// The open gate of a cell. Dropping it ends every connection.
pub struct Gate {
    _tasks: JoinSet<()>,
    carrying: Arc<AtomicUsize>,
}

struct Shared {
    rules: Vec<NetRule>,
    names: Mutex<Names>,
    resolver: Resolver,
    told: Mutex<HashSet<String>>,
    refusals: mpsc::Sender<String>,
    room: Arc<Semaphore>,
    /// What the person denied: no name leads there.
    denied: Vec<NetGrant>,
    carrying: Arc<AtomicUsize>,
}

/// Where a connection goes.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Address(IpAddr),
    Name(String),
}

impl Gate {
    /// Opens it. `refusals` hears what the cell tried and was not granted, in words.
    pub fn open(
        doors: Doors,
        rules: Vec<NetRule>,
        denied: Vec<NetGrant>,
        resolver: Resolver,
        refusals: mpsc::Sender<String>,
    ) -> io::Result<Self> {
        let carrying = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            rules,
            names: Mutex::default(),
            resolver,
            told: Mutex::default(),
            refusals,
            room: Arc::new(Semaphore::new(CONNECTIONS)),
            denied,
            carrying: Arc::clone(&carrying),
        });
        let mut tasks = JoinSet::new();
        let names = UdpSocket::from_std(doors.names.into())?;
        tasks.spawn(Arc::clone(&shared).answer(names));
        for (_, listener) in doors.listeners {
            let listener = TcpListener::from_std(listener.into())?;
            tasks.spawn(Arc::clone(&shared).accept(listener));
        }
        Ok(Self { _tasks: tasks, carrying })
    }

    /// Closes it behind a dead cell: what the cell had sent before is carried to its end, as far as that takes no longer than a moment.
    pub async fn close(self) {
        let deadline = tokio::time::Instant::now() + FAREWELL;
        let mut quiet = 0;
        // Twice, since a connection may have been made and not been taken yet.
        while quiet < 2 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(4)).await;
            quiet = if self.carrying.load(Ordering::Acquire) == 0 { quiet + 1 } else { 0 };
        }
    }
}

impl Shared {
    /// Tells the person, each thing once.
    fn refuse(&self, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD && told.insert(text.clone()) {
            // Nobody waits for a cell's own mistakes to be heard.
            let _ = self.refusals.try_send(text);
            if told.len() == TOLD {
                let last = "it tried more that it did not reach; no more of it is told";
                let _ = self.refusals.try_send(last.to_owned());
            }
        }
    }

    fn grants_name(&self, name: &str) -> bool {
        let name = Host::Name(name.to_owned());
        self.rules.iter().any(|rule| rule.host.covers(&name))
    }

    async fn answer(self: Arc<Self>, socket: UdpSocket) {
        let mut buffer = [0; QUESTION];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                // What could not be received is asked again; an end comes with the gate's.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let answer = {
                let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
                names.answer(&buffer[..length], |name| self.grants_name(name))
            };
            let reply = match answer {
                Answer::Send(reply) => reply,
                Answer::Unknown(reply, name) => {
                    if !name.is_empty() {
                        self.refuse(format!(
                            "it asked for the name `{name}`, which is in none of its grants; `allow.net` of the cell lists `HOST:PORT`"
                        ));
                    }
                    reply
                }
                Answer::Nothing => continue,
            };
            let _ = socket.send_to(&reply, from).await;
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            // Those that have ended are let go of.
            while connections.try_join_next().is_some() {}
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                // Too many open files, as a rule: it passes.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let shared = Arc::clone(&self);
            let carried = Carried::new(&self.carrying);
            connections.spawn(async move {
                shared.carry(stream).await;
                drop((room, carried));
            });
        }
    }

    /// Where the cell meant to go, if it may.
    fn target(&self, meant: SocketAddr) -> Result<Target, String> {
        let (address, port) = (meant.ip().to_canonical(), meant.port());
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.name_of(address) {
            let host = Host::Name(name.to_owned());
            let granted =
                self.rules.iter().any(|rule| rule.port == port && rule.host.covers(&host));
            return match granted {
                true => Ok(Target::Name(name.to_owned())),
                false => Err(NetRule { host, port }.to_string()),
            };
        }
        let literal = NetRule { host: Host::Ip(address), port };
        let local = NetRule { host: Host::Name("localhost".to_owned()), port };
        let granted =
            self.rules.contains(&literal) || (address.is_loopback() && self.rules.contains(&local));
        if granted { Ok(Target::Address(address)) } else { Err(literal.to_string()) }
    }

    async fn carry(&self, mut inside: TcpStream) {
        let Ok(meant) = inside.local_addr() else { return };
        let connected = match self.target(meant) {
            Ok(target) => {
                let connecting = self.connect(target, meant.port());
                let late = |_| Err(unreached(&self.name_of(meant), &"it did not answer in time"));
                tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(late)
            }
            Err(asked) => Err(format!(
                "it tried to reach `{asked}`, which it was not granted; `allow.net` of the cell asks for it"
            )),
        };
        match connected {
            Ok(mut outside) => {
                let _ = outside.set_nodelay(true);
                let _ = inside.set_nodelay(true);
                let carried = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                tracing::debug!(%meant, ?carried, "a connection ended");
            }
            Err(text) => {
                self.refuse(text);
                // The door had to be open before it was known; a reset is what the cell takes for a failure.
                let _ = inside.set_zero_linger();
            }
        }
    }

    /// What the cell calls where it means to go.
    fn name_of(&self, meant: SocketAddr) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let name = names.name_of(meant.ip().to_canonical()).map(str::to_owned);
        let name = name.unwrap_or_else(|| meant.ip().to_canonical().to_string());
        format!("{name}:{}", meant.port())
    }

    /// Connects. An error is a refusal of ours, or of whoever is there, in words.
    async fn connect(&self, target: Target, port: u16) -> Result<TcpStream, String> {
        let addresses = match &target {
            Target::Address(address) => vec![*address],
            Target::Name(name) => {
                let found = (self.resolver)(name).await;
                let found = found.map_err(|error| unreached(name, &error))?;
                let local = name == "localhost";
                let may = |address: &IpAddr| {
                    let literal = NetRule { host: Host::Ip(address.to_canonical()), port };
                    let inside = self.rules.contains(&literal)
                        || (local && address.to_canonical().is_loopback());
                    (inside || address::public(*address))
                        && !self.denied.iter().any(|denied| denied.touches(&literal))
                };
                let (good, bad): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().copied().partition(may);
                if let (true, Some(inside)) = (good.is_empty(), bad.first()) {
                    let rule = NetRule { host: Host::Ip(inside.to_canonical()), port };
                    return Err(format!(
                        "`{name}` leads to `{rule}`, which was denied or is not on the public internet; the latter needs a grant of its own"
                    ));
                }
                good
            }
        };
        let mut refused = "it has no address".to_owned();
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => refused = error.to_string(),
            }
        }
        let name = match target {
            Target::Address(address) => address.to_string(),
            Target::Name(name) => name,
        };
        Err(unreached(&format!("{name}:{port}"), &refused))
    }
}

/// That somebody who may be reached was not.
fn unreached(host: &str, why: &dyn std::fmt::Display) -> String {
    format!("`{host}`, which it was granted, was not reached: {why}")
}

/// One connection that is being carried.
struct Carried(Arc<AtomicUsize>);

impl Carried {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
