//! The one configuration of wasmtime that compiling and running share.
//! Does not know whether a module or a component comes, nor where from.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{Config, Engine, PoolingAllocationConfig, Result};

use crate::limits::TABLE_ELEMENTS;

/// How much stack a guest may use. wasmtime's own 512 KiB is less than what programs meet on
/// Linux; the native thread's 8 MiB is more than a cell that shares its memory cap should take.
const STACK: usize = 2 << 20;
/// What host functions may use on top, on the same fiber.
const HOST_STACK: usize = 1 << 20;
/// Frames shown after a trap.
const FRAMES: usize = 20;

/// How much memory a guest may be promised by a pool: as much as a memory with 32-bit addresses can ever have.
pub(crate) const POOLED_MEMORY: usize = 1 << 32;
/// Memories and tables that a pool has places for. Addresses alone are taken for them, 4 GiB for each memory.
const POOLED: u32 = 16;
/// Core instances in a pool, all those of one component at a time.
const POOLED_INSTANCES: u32 = 64;

/// Makes the engine. Both verbs need exactly this one: a program compiled under one configuration
/// is refused under another.
pub(crate) fn engine() -> Result<Engine> {
    Engine::new(&config())
}

/// The same for one instance after the other: places for memories, tables and stacks are mapped once and cleared between instances, not mapped anew.
/// Code is the same as the other one's. What would need more places than there are is refused when it is loaded; once loaded, the limits of
/// [`Limits`](crate::limits::Limits) are met before those of a place, if they promise [`POOLED_MEMORY`] at most.
pub(crate) fn pooled() -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memory_size(POOLED_MEMORY).total_memories(POOLED);
    pool.max_memories_per_module(POOLED).max_memories_per_component(POOLED);
    pool.table_elements(TABLE_ELEMENTS).total_tables(POOLED);
    pool.max_tables_per_module(POOLED).max_tables_per_component(POOLED);
    pool.total_core_instances(POOLED_INSTANCES);
    pool.max_core_instances_per_component(POOLED_INSTANCES);
    // One guest at a time, on one stack; a component is one instance, whatever is inside.
    pool.total_component_instances(1).total_stacks(1);
    Engine::new(config().allocation_strategy(pool))
}

fn config() -> Config {
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
    config
}

/// A number that differs between engines that cannot load each other's programs: wasmtime's
/// version, its settings, the processor's features.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
