//! What is known of a flow in which every result stands: what asks for it again need not plan.

use std::path::PathBuf;

use polyloom_model::{Digest, Manifest};
use polyloom_runtime::{Fresh, Place, Prepared, Unchanged};
use polyloom_store::StatKey;

use crate::args::{FlowArgs, PermissionArgs, Select};
use crate::world::{VERSION, World, unix_ms};

/// All that a plan depends on of what was asked for.
pub struct Asked<'a> {
    pub flow: &'a FlowArgs,
    pub select: &'a Select,
    pub permissions: &'a PermissionArgs,
    pub limits: &'a [String],
}

impl Asked<'_> {
    /// What stands for it, and for this program. `None`: it can't be told, or has nothing to do with what was known.
    pub fn key(&self, world: &World) -> Option<Digest> {
        let path = self.flow.flow.clone().unwrap_or_else(|| PathBuf::from("."));
        let path = polyloom_load::find_flow(&path).ok()?;
        let program = StatKey::of(&std::fs::metadata("/proc/self/exe").ok()?);
        let here = std::env::current_dir().ok()?;
        let FlowArgs { param, params_file, seed, .. } = self.flow;
        let asked = (param, params_file, seed, self.select, self.permissions, self.limits);
        let mut key = format!("{:?}", (VERSION, program, here, path, asked)).into_bytes();
        // There may be hundreds: words for people would take longer than to find them.
        let manifests: Vec<&Manifest> = world.languages.all().map(|it| &**it).collect();
        rmp_serde::encode::write(&mut key, &manifests).ok()?;
        Some(Digest::of(&key))
    }

    /// What a plan without anything to do rests on.
    pub fn fresh(&self, world: &World, place: &Place, prepared: &Prepared) -> Option<Fresh> {
        let given: Vec<PathBuf> = self.flow.params_file.iter().cloned().collect();
        let elapsed = u64::try_from(world.started.elapsed().as_millis()).ok()?;
        let fresh = Fresh::of(prepared, place, &given, unix_ms().checked_sub(elapsed)?);
        fresh.map_err(|why| tracing::debug!(why, "the flow is planned again next time")).ok()
    }
}

/// What is kept, if it still holds.
pub fn find(world: &World, place: &Place, key: &Digest) -> Option<Unchanged> {
    Unchanged::find(place, key, |id| world.manifest(id))
}
