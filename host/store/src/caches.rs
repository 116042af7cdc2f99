//! Small memories beside the results: compiled programs by key, and what a toolchain said of itself.

use polyloom_model::Digest;
use rusqlite::OptionalExtension;

use crate::fault::Fault;
use crate::index;
use crate::store::Store;

impl Store {
    /// The compiled program of a compile key, a blob or a tree, if all of the blob itself is still there.
    pub fn program(&self, key: &Digest) -> Result<Option<Digest>, Fault> {
        let found = self.query(|index| {
            index
                .prepare_cached("SELECT digest FROM programs WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| Ok(index::digest(row.get_ref(0)?.as_blob()?)))
                .optional()
        })?;
        match found.flatten() {
            Some(digest) if self.has(&digest)? => Ok(Some(digest)),
            _ => match self.program_behind(key) {
                Some(digest) if self.has(&digest)? => Ok(Some(digest)),
                _ => Ok(None),
            },
        }
    }

    /// Records the program of a compile key.
    pub fn commit_program(
        &self,
        key: &Digest,
        program: &Digest,
        unix_ms: u64,
    ) -> Result<(), Fault> {
        let used = i64::try_from(self.at(unix_ms)).unwrap_or(i64::MAX);
        self.write(|index| {
            index
                .prepare_cached(
                    "INSERT OR REPLACE INTO programs (key, digest, used) VALUES (?1, ?2, ?3)",
                )?
                .execute((key.as_bytes(), program.as_bytes(), used))
        })?;
        Ok(())
    }

    /// What is remembered under a toolchain's key (path, stat and arguments in the caller's own words).
    pub fn tool(&self, key: &str) -> Result<Option<String>, Fault> {
        self.query(|index| {
            index
                .prepare_cached("SELECT text FROM tools WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
    }

    /// Remembers a text under a toolchain's key.
    pub fn remember_tool(&self, key: &str, text: &str) -> Result<(), Fault> {
        self.write(|index| {
            index
                .prepare_cached("INSERT OR REPLACE INTO tools (key, text) VALUES (?1, ?2)")?
                .execute((key, text))
        })?;
        Ok(())
    }
}
