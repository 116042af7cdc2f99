//! A sandbox that another process of the same user is given: what it has to know as bytes, and descriptors. Both processes are this crate at this version.
//!
//! Its control groups keep the names of the process that made them, which therefore has to live as long as the sandbox does: what a dead host left is swept away.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
};

use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{Groups, Told},
    disk::{Disk, Measure},
    enforcement::Enforcement,
    living::Points,
    parked::Parked,
    sandbox::Sandbox,
    view::View,
};

/// A sandbox on its way: bytes, and the descriptors that come with them, which are few enough for one message.
#[derive(Debug)]
pub struct Passed<'a> {
    /// What is known of it.
    pub about: Vec<u8>,
    /// In the order in which they are to be received.
    pub fds: Vec<BorrowedFd<'a>>,
}

#[derive(Serialize, Deserialize)]
struct About {
    pid: i32,
    owner: Option<u32>,
    disk_before: u64,
    inodes_before: u64,
    bounds: (u64, u64),
    enforcement: Enforcement,
    groups: Told,
    /// Folders of its code and inputs.
    laid: u8,
    points: Points,
    /// Whether there are its standard output, its standard error, and the socket of its worker.
    streams: [bool; 3],
    /// What a parked one holds.
    held: u64,
}

impl Sandbox {
    /// What another process needs to have it. Nothing where its files are the host's, or it has a network: that can't be passed on.
    #[must_use]
    pub fn pass(&self) -> Option<Passed<'_>> {
        self.pass_holding(0)
    }

    fn pass_holding(&self, held: u64) -> Option<Passed<'_>> {
        let plain = matches!(self.disk, Disk::Memory)
            && self.doors.is_none()
            && self.lease.is_none()
            && self.exit.is_none()
            && !self.bare;
        if !plain {
            return None;
        }
        let (groups, of_groups) = self.groups.tell();
        let streams = [&self.stdout, &self.stderr, &self.worker];
        let about = About {
            pid: self.pid,
            owner: self.owner,
            disk_before: self.disk_before,
            inodes_before: self.inodes_before,
            bounds: self.measure.bounds(),
            enforcement: self.enforcement.clone(),
            groups,
            laid: u8::try_from(self.laid.len()).ok()?,
            points: self.points.clone(),
            streams: streams.map(Option::is_some),
            held,
        };
        let own = [&self.control, &self.pidfd, &self.root].map(AsFd::as_fd);
        let laid = self.laid.iter().map(AsFd::as_fd);
        let streams = streams.into_iter().flatten().map(AsFd::as_fd);
        let fds = own.into_iter().chain(laid).chain(streams).chain(of_groups).collect();
        Some(Passed { about: rmp_serde::to_vec(&about).ok()?, fds })
    }

    /// The sandbox of another process, from what [`Self::pass`] gave there.
    #[must_use]
    pub fn receive(about: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        Self::receive_holding(about, fds).map(|(sandbox, _)| sandbox)
    }

    fn receive_holding(about: &[u8], fds: Vec<OwnedFd>) -> Option<(Self, u64)> {
        let about: About = rmp_serde::from_slice(about).ok()?;
        let mut fds = fds.into_iter();
        let (control, pidfd, root) = (fds.next()?, fds.next()?, fds.next()?);
        let laid = fds.by_ref().take(about.laid.into()).collect();
        let mut stream = |with: bool| if with { fds.next().map(Some) } else { Some(None) };
        let [stdout, stderr, worker] = about.streams;
        let (stdout, stderr, worker) = (stream(stdout)?, stream(stderr)?, stream(worker)?);
        let groups = Groups::told(about.groups, &mut fds)?;
        let (bytes, files) = about.bounds;
        let sandbox = Self {
            control,
            pidfd,
            pid: about.pid,
            root,
            laid,
            points: about.points,
            space: None,
            owner: about.owner,
            disk_before: about.disk_before,
            inodes_before: about.inodes_before,
            disk: Disk::Memory,
            measure: Measure::new(bytes, files),
            stdout,
            stderr,
            worker,
            doors: None,
            groups,
            lease: None,
            shared: 0,
            stands: false,
            killed: AtomicBool::new(false),
            bare: false,
            view: View::default(),
            enforcement: about.enforcement,
            exit: None,
            polled_peak: AtomicU64::new(0),
            polled_cpu: AtomicU64::new(0),
            torn_down: None,
            anothers: true,
            last: OnceLock::new(),
        };
        Some((sandbox, about.held))
    }

    /// What of its file system is no use of the cell's, in bytes and files: it changes when the host lays files, and is known only to who did.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        (self.disk_before, self.inodes_before)
    }

    /// Takes over what another process knew of [`Self::counted`].
    pub fn count_from(&mut self, (bytes, files): (u64, u64)) {
        (self.disk_before, self.inodes_before) = (bytes, files);
    }

    /// Leaves it to the process that it came from, as it is.
    pub fn leave(mut self) {
        self.forget();
    }

    /// Closes this process's ends of its streams, which are another's now. What is left serves to end it.
    pub fn passed(&mut self) {
        (self.stdout, self.stderr, self.worker) = (None, None, None);
    }
}

impl Parked {
    /// What another process needs to put a cell into it.
    #[must_use]
    pub fn pass(&self) -> Option<Passed<'_>> {
        self.sandbox.pass_holding(self.held)
    }

    /// The parked sandbox of another process, from what [`Self::pass`] gave there.
    #[must_use]
    pub fn receive(about: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        let (sandbox, held) = Sandbox::receive_holding(about, fds)?;
        Some(Self { sandbox, held, groups: None })
    }

    /// Leaves it to the process that it came from. The control groups of its last cell, which have this process's name, are removed.
    pub fn leave(mut self) {
        self.sandbox.forget();
    }
}
