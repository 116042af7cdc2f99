//! Choosing what both sides speak. It only ever shrinks what the manifest and the host allow.

use crate::Violation;
use crate::messages::Version;
use crate::messages::host::{HelloNo, HelloOk};
use crate::messages::worker::Hello;

/// The version this crate implements.
pub const VERSION: Version = Version { major: 1, minor: 0 };
/// Most versions a `Hello` may list.
pub const MAX_VERSIONS: usize = 16;
/// Most features a `Hello` may list.
pub const MAX_FEATURES: usize = 64;

/// Names of the features known now. Absent means not supported; no version implies one.
#[expect(missing_docs, reason = "each constant is the feature it names; `SPEC.md` section 7 tells")]
pub mod feature {
    pub const CANCEL_SOFT: &str = "cancel.soft";
    pub const DISPLAY: &str = "display";
    pub const PROGRESS: &str = "progress";
    pub const SESSION: &str = "session";
    pub const SNAPSHOT: &str = "snapshot";
    pub const CATALOG: &str = "catalog";
    pub const PREPARE: &str = "prepare";
    pub const CALL: &str = "call";
    pub const KEPT: &str = "kept";
    pub const COMPLETE: &str = "complete";
    pub const DURABLE: &str = "durable";
    pub const INTERACTIVE: &str = "interactive";
    pub const SOURCE: &str = "source";
    pub const INTERRUPT: &str = "interrupt";
    pub const QUEUE: &str = "queue";
    pub const VALUES: &str = "values";
    /// Of the workers that `[instances]` of a manifest names; all of them have it.
    pub const INSTANCES: &str = "instances";
    /// What `[worker]` of a manifest may name: every name above but the last.
    pub const ALL: [&str; 16] = [
        CANCEL_SOFT,
        DISPLAY,
        PROGRESS,
        SESSION,
        SNAPSHOT,
        CATALOG,
        PREPARE,
        CALL,
        KEPT,
        COMPLETE,
        DURABLE,
        INTERACTIVE,
        SOURCE,
        INTERRUPT,
        QUEUE,
        VALUES,
    ];
}

/// What the host is ready to agree to with one executor.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// Executor id of the manifest; the `Hello` must name the same.
    pub executor: &'a str,
    /// Versions the host speaks.
    pub versions: &'a [Version],
    /// Features the host knows and the manifest declares.
    pub features: &'a [&'a str],
}

/// Answers a `Hello`: the highest common major with the lower of the two minors, and the features
/// that both have.
///
/// # Errors
/// The refusal to send, with a reason that says what came and what is supported.
pub fn negotiate(hello: &Hello, offer: &Offer<'_>) -> Result<HelloOk, HelloNo> {
    let refuse = |reason| Err(HelloNo { reason, supported: offer.versions.to_vec() });
    if hello.executor != offer.executor {
        let found: String = hello.executor.chars().take(64).collect();
        return refuse(format!("executor is `{found}`, the manifest says `{}`", offer.executor));
    }
    if hello.protocol.len() > MAX_VERSIONS {
        let count = hello.protocol.len();
        return refuse(format!(
            "{count} protocol versions are listed, at most {MAX_VERSIONS} may be"
        ));
    }
    if hello.features.len() > MAX_FEATURES {
        let count = hello.features.len();
        return refuse(format!("{count} features are listed, at most {MAX_FEATURES} may be"));
    }
    let common = offer.versions.iter().filter_map(|ours| {
        let theirs = hello.protocol.iter().filter(|theirs| theirs.major == ours.major).max()?;
        Some(Version { major: ours.major, minor: ours.minor.min(theirs.minor) })
    });
    let Some(Version { major, minor }) = common.max() else {
        return refuse(format!(
            "no common protocol version: the worker speaks {}, the host {}",
            list(&hello.protocol),
            list(offer.versions),
        ));
    };
    let features = offer.features.iter().filter(|name| hello.features.iter().any(|f| f == *name));
    Ok(HelloOk { major, minor, features: features.map(|name| (*name).to_owned()).collect() })
}

/// The refusal for a `Hello` that could not even be read.
#[must_use]
pub fn refusal(violation: &Violation, offer: &Offer<'_>) -> HelloNo {
    HelloNo { reason: violation.to_string(), supported: offer.versions.to_vec() }
}

fn list(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = versions.iter().map(|v| format!("{}.{}", v.major, v.minor)).collect();
    names.join(", ")
}
