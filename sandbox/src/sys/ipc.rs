//! System V objects of an IPC namespace.

use std::io;

use super::check_int;

/// `shmctl`: what there is in all (sys/shm.h).
const SHM_INFO: i32 = 14;

/// Whether there are no shared memory segments, semaphore sets and message queues.
pub fn is_empty() -> io::Result<bool> {
    // SAFETY: `shm_info` is plain integers and the kernel writes one of it at most; its first field counts segments (shmctl(2), SHM_INFO).
    let segments = unsafe {
        let mut info = [0_i32; 64];
        check_int(libc::shmctl(0, SHM_INFO, (&raw mut info).cast()))?;
        info[0]
    };
    // SAFETY: as above with `seminfo`, whose eighth integer counts sets (semctl(2), SEM_INFO).
    let sets = unsafe {
        let mut info = [0_i32; 64];
        check_int(libc::semctl(0, 0, libc::SEM_INFO, info.as_mut_ptr()))?;
        info[7]
    };
    // SAFETY: as above with `msginfo`, whose first integer counts queues (msgctl(2), MSG_INFO).
    let queues = unsafe {
        let mut info = [0_i32; 64];
        check_int(libc::msgctl(0, libc::MSG_INFO, info.as_mut_ptr().cast()))?;
        info[0]
    };
    Ok(segments == 0 && sets == 0 && queues == 0)
}
