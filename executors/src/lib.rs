//! What the binary carries for its languages: the bundled manifests and the SDK that cells see at `/polyloom/sdk`.
//!
//! Bytes and their names, found by `build.rs`. Knows no manifest's meaning and no language; only the composition root
//! (`host/cli`) links it.

/// A file inside the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedded {
    /// Relative path with `/`, e.g. `python/executor.toml` among the manifests or `c/polyloom.h` in the SDK.
    pub path: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Every `executors/*/executor.toml`, sorted by path.
#[must_use]
pub fn manifests() -> &'static [Embedded] {
    MANIFESTS
}

/// Every `executors/*/conformance.toml`, and `conformance.LANGUAGE.toml`, sorted by path: the codes by which the kit tests a language.
#[must_use]
pub fn conformance() -> &'static [Embedded] {
    CONFORMANCE
}

/// The SDK's files, sorted by tree: `c/…`, `javascript/…`, `python/…`; their tests are left out.
#[must_use]
pub fn sdk() -> &'static [Embedded] {
    SDK
}

/// The files of a new plugin by what it is written in: `c/…`, `rust/…`. They are those of `examples/plugins/say-…`, with what a build needs beside them.
#[must_use]
pub fn templates() -> &'static [Embedded] {
    TEMPLATES
}

/// 32 hexadecimal digits that change with any file of the SDK: a name for the folder it is extracted to.
#[must_use]
pub fn sdk_digest() -> &'static str {
    SDK_DIGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_with_a_manifest_is_carried() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for id in ["awk", "c", "cpp", "java", "perl", "sh", "shell", "sqlite", "tcc", "tcl"] {
            let path = format!("{id}/executor.toml");
            let found = manifests().iter().find(|file| file.path == path).expect(&path);
            assert_eq!(found.bytes, std::fs::read(here.join(&path)).expect("it is there"));
            let path = format!("{id}/conformance.toml");
            assert!(conformance().iter().any(|file| file.path == path), "{path}");
        }
        assert!(manifests().is_sorted_by_key(|file| file.path));
    }

    #[test]
    fn the_sdk_has_its_entry_points_and_no_tests() {
        for path in ["c/polyloom.h", "c/polyloom/base.h", "python/worker.py"] {
            assert!(sdk().iter().any(|file| file.path == path), "{path}");
        }
        for file in sdk() {
            assert!(
                !file.path.contains("/test") && !file.path.contains("__pycache__"),
                "{}",
                file.path
            );
            assert!(!file.path.starts_with('/') && !file.path.contains(".."));
        }
        assert_eq!(sdk_digest().len(), 32);
    }
}
