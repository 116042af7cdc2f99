//! The one configuration of wasmtime that compiling and running share.
//! Does not know whether a module or a component comes, nor where from.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{Config, Engine, Result};

/// How much stack a guest may use. wasmtime's own 512 KiB is less than what programs meet on
/// Linux; the native thread's 8 MiB is more than a cell that shares its memory cap should take.
const STACK: usize = 2 << 20;
/// What host functions may use on top, on the same fiber.
const HOST_STACK: usize = 1 << 20;
/// Frames shown after a trap.
const FRAMES: usize = 20;

/// Makes the engine. Both verbs need exactly this one: a program compiled under one configuration
/// is refused under another.
pub(crate) fn engine() -> Result<Engine> {
    let mut config = Config::new();
    // Always on, since a program is compiled once and may be run with and without a deadline.
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK);
    config.async_stack_size(STACK + HOST_STACK);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(FRAMES));
    // One guest on one thread: shared memory would bring waits that no epoch can interrupt.
    // The threads proposal itself is off because the crate feature is not compiled in.
    config.shared_memory(false);
    config.concurrency_support(false);
    // Results are cached by their inputs, so the same program must not depend on the processor.
    config.relaxed_simd_deterministic(true);
    Engine::new(&config)
}

/// A number that differs between engines that cannot load each other's programs: wasmtime's
/// version, its settings, the processor's features.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
