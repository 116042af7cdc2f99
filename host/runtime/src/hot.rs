//! Large outputs that stay in the memory they were written into until the run ends, so that their consumers map them and nobody waits
//! for a disk. Each is on its way to the store meanwhile.
//!
//! Knows digests, files and how much memory there is; not steps, not events.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use polyloom_model::Digest;
use polyloom_store::{PutError, Room, Store, digest_bytes};
use polyloom_worker::HotFile;
use tokio::task::JoinHandle;

use crate::place::Place;
use crate::words::chain;

/// An output on its way to the disk; or why it did not arrive, in words.
pub type Copy = JoinHandle<Result<(), String>>;

/// Of the memory that cells could have, outputs take at most one part in so many.
const PART: u64 = 4;

/// Files from this size on stay in memory, in bytes.
pub const FROM: u64 = polyloom_worker::HOT_FROM;

/// The outputs in memory.
#[derive(Debug, Default)]
pub struct Hot {
    shelf: Mutex<Shelf>,
    arrived: Condvar,
    /// The most that somebody wants to be held, in bytes.
    most: Option<u64>,
}

/// Outputs that went over the disk, since there was no room for them in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Declined {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Shelf {
    files: HashMap<Digest, Arc<HotFile>>,
    /// The same, oldest first.
    order: VecDeque<Digest>,
    /// How many copies of each content are being made.
    copying: HashMap<Digest, usize>,
    declined: Declined,
}

impl Shelf {
    fn held(&self) -> u64 {
        self.files.values().map(|file| file.held()).sum()
    }

    /// Lets the oldest go that is on the disk; whether there was one.
    fn let_go(&mut self) -> bool {
        let oldest = self.order.iter().position(|digest| !self.copying.contains_key(digest));
        let gone = oldest.and_then(|at| self.order.remove(at));
        gone.is_some_and(|digest| self.files.remove(&digest).is_some())
    }
}

impl Hot {
    /// With at most so many bytes in memory; `None`: as much as a part of what is available.
    #[must_use]
    pub fn with_most(most: Option<u64>) -> Self {
        Self { most, ..Self::default() }
    }

    /// How much may be held at this moment beside what is, in bytes: the setting, or a quarter of the memory that is available.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit_beside(0)
    }

    fn limit_beside(&self, held: u64) -> u64 {
        // What is in memory already is no longer available, and so counts back in.
        let part = available().saturating_add(held) / PART;
        self.most.map_or(part, |most| most.min(part))
    }

    /// What went over the disk since this was asked last.
    pub(crate) fn take_declined(&self) -> Declined {
        std::mem::take(&mut self.shelf().declined)
    }

    fn decline(&self, size: u64) {
        let declined = &mut self.shelf().declined;
        declined.files += 1;
        declined.bytes = declined.bytes.saturating_add(size);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file with this content, if it is in memory.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<HotFile>> {
        self.shelf().files.get(digest).cloned()
    }

    /// Waits until content that is on its way to the disk is there, or failed to get there.
    pub(crate) fn wait(&self, digest: &Digest) {
        let mut shelf = self.shelf();
        while shelf.copying.contains_key(digest) {
            shelf = self.arrived.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a file in and notes that it is being copied; or not, when that is more than `room` bytes in all.
    fn admit(
        &self,
        digest: Digest,
        file: HotFile,
        room: impl Fn(u64) -> u64,
    ) -> Option<Arc<HotFile>> {
        let mut shelf = self.shelf();
        if !shelf.files.contains_key(&digest) {
            while shelf.held().saturating_add(file.held()) > room(shelf.held()) {
                if !shelf.let_go() {
                    return None;
                }
            }
            shelf.files.insert(digest, Arc::new(file));
            shelf.order.push_back(digest);
        }
        *shelf.copying.entry(digest).or_default() += 1;
        shelf.files.get(&digest).cloned()
    }

    fn copied(&self, digest: &Digest) {
        let mut shelf = self.shelf();
        if let Some(count) = shelf.copying.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                shelf.copying.remove(digest);
            }
        }
        self.arrived.notify_all();
    }

    /// Lets everything go that is on the disk.
    pub(crate) fn clear(&self) {
        let mut shelf = self.shelf();
        while shelf.let_go() {}
    }
}

/// Keeps an output: in memory if there is room, and then with the copy that is being made of it, else in the store. Blocks for as long as
/// hashing takes, or copying.
pub(crate) fn keep(
    place: &Arc<Place>,
    file: &File,
    size: u64,
    hot: HotFile,
) -> Result<(Digest, u64, Option<Copy>), PutError> {
    let in_store = |place: &Place| {
        let (digest, size) = place.store.put_file(file, size)?;
        Ok((digest, size, None))
    };
    let Ok(digest) = hot.bytes().map(|bytes| digest_bytes(&bytes)) else {
        return in_store(place);
    };
    let held = hot.held();
    let limit = |others| place.hot.limit_beside(others + held);
    let Some(hot) = place.hot.admit(digest, hot, limit) else {
        place.hot.decline(size);
        return in_store(place);
    };
    // Where the store seems to have it, that is looked into while its consumers run: it is to be read whole.
    let room = match place.store.has(&digest) {
        Ok(true) => Ok(None),
        Ok(false) => place.store.room_for(size).map(Some),
        Err(error) => Err(error),
    };
    let room = room.inspect_err(|_| place.hot.copied(&digest))?;
    let place = Arc::clone(place);
    let copy = tokio::task::spawn_blocking(move || {
        let put = copy(&place.store, room, &hot, &digest, size);
        drop(hot);
        place.hot.copied(&digest);
        put
    });
    Ok((digest, size, Some(copy)))
}

/// Sees to it that the store has what is in memory; or why it has not.
fn copy(
    store: &Store,
    room: Option<Room>,
    hot: &HotFile,
    digest: &Digest,
    size: u64,
) -> Result<(), String> {
    let room = match room {
        Some(room) => room,
        None if store.holds(digest, size) => return Ok(()),
        None => store.room_for(size).map_err(|error| chain(&error))?,
    };
    let bytes = hot.bytes().map_err(|error| chain(&error))?;
    match store.put_whole(room, &bytes, digest) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it changed while it was stored".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

/// Memory that processes could get without pushing others out, in bytes; none where the kernel does not say.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}
