//! `sdk/c/polyloom_plugin.h`, version 1, as Rust sees it: the same fields in the same order.

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;

/// What a library exports.
pub const ENTRY: &str = "polyloom_plugin_v1";

/// `plx_entry`
pub type Entry = unsafe extern "C" fn() -> *const Plugin;

/// `plx_plugin`
#[repr(C)]
pub struct Plugin {
    pub size: usize,
    pub id: *const c_char,
    pub version: *const c_char,
    pub runtime: *const c_char,
    pub features: *const c_char,
    pub open: Option<unsafe extern "C" fn() -> *mut c_void>,
    pub exec: Option<unsafe extern "C" fn(*mut c_void, *mut Exec) -> c_int>,
    pub reset: Option<unsafe extern "C" fn(*mut c_void)>,
    pub snapshot: Option<unsafe extern "C" fn(*mut c_void, *const c_char)>,
    pub restore: Option<unsafe extern "C" fn(*mut c_void, *const c_char)>,
    pub close: Option<unsafe extern "C" fn(*mut c_void)>,
    /// From here on newer than the first headers: a plugin that was compiled with one of these ends before.
    pub catalog: Option<unsafe extern "C" fn(*mut c_void) -> *const c_char>,
}

impl Plugin {
    /// So much every plugin of version 1 has.
    pub const LEAST: usize = offset_of!(Plugin, catalog);
}

/// `plx_input`
#[repr(C)]
pub struct Input {
    pub port: *const c_char,
    pub r#type: *const c_char,
    pub path: *const c_char,
    pub encoding: *const c_char,
    pub media: *const c_char,
}

/// `plx_output`
#[repr(C)]
pub struct Output {
    pub port: *const c_char,
    pub r#type: *const c_char,
}

/// `plx_exec`
#[repr(C)]
pub struct Exec {
    pub size: usize,
    pub cell: *const c_char,
    pub code: *const c_char,
    pub out: *const c_char,
    pub argv: *const *const c_char,
    pub argc: usize,
    pub inputs: *const Input,
    pub inputs_length: usize,
    pub outputs: *const Output,
    pub outputs_length: usize,
    pub deadline_ms: u64,
    pub seed: i64,
    pub has_seed: i32,
    pub host: *const Host,
    pub context: *mut c_void,
}

/// `plx_host`
#[repr(C)]
pub struct Host {
    pub size: usize,
    pub log: unsafe extern "C" fn(*mut Exec, i32, *const c_char, usize),
    pub progress: unsafe extern "C" fn(*mut Exec, f64, *const c_char),
    pub display: unsafe extern "C" fn(*mut Exec, *const c_char, *const c_void, usize) -> i32,
    pub artifact:
        unsafe extern "C" fn(*mut Exec, *const c_char, *const c_char, *const c_char) -> i32,
    pub fail: unsafe extern "C" fn(*mut Exec, u32, u32, *const c_char),
    pub warn: unsafe extern "C" fn(*mut Exec, u32, u32, *const c_char),
    pub cancelled: unsafe extern "C" fn(*mut Exec) -> i32,
    pub text: unsafe extern "C" fn(*mut Exec, *const c_char, *mut usize) -> *const c_char,
    pub write: unsafe extern "C" fn(*mut Exec, *const c_char, *const c_void, usize) -> i32,
    pub run: unsafe extern "C" fn(*mut Exec, *const *const c_char) -> i32,
    pub compile_and_run:
        unsafe extern "C" fn(*mut Exec, *const *const c_char, *const *const c_char) -> i32,
    pub session_changed: unsafe extern "C" fn(*mut Exec),
}
