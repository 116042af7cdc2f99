//! A library as an executor: loaded, checked, called. Knows the interface; does not know what a cell asks of the host.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};
use polyloom_sdk::{About, Context, Exec, Executor, Failure, Value};
use thiserror::Error;

use crate::abi::{ENTRY, Entry, Plugin};
use crate::catalog;
use crate::exec::Call;

/// Why a library is no executor.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The dynamic linker's word.
    #[error("can't load the library `{}`", path.display())]
    Open {
        /// The library.
        path: PathBuf,
        /// Why.
        #[source]
        source: libloading::Error,
    },
    /// It is one for something else.
    #[error(
        "`{}` does not export `{ENTRY}`: is it built with PLX_EXPORT and `extern \"C\"`?", path.display()
    )]
    NoEntry {
        /// The library.
        path: PathBuf,
    },
    /// Its entry gave NULL.
    #[error("`{}` says that it can't be used here: `{ENTRY}` returned NULL", path.display())]
    Refused {
        /// The library.
        path: PathBuf,
    },
    /// The struct is not one of this version.
    #[error("the plugin of `{}` {what}", path.display())]
    Wrong {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// A library that was loaded.
pub struct Native {
    /// What it exports: what its texts and functions are lives as long as the process.
    plugin: Plugin,
    /// Its own state.
    this: *mut c_void,
    about: About,
}

#[expect(unsafe_code, reason = "a library behind a C interface is called")]
impl Native {
    /// Loads a library for the rest of the process.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let owned = || path.to_owned();
        // SAFETY: what its constructors do is done to this process, which exists for this library alone, or is a test of it.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        let library = library.map_err(|source| LoadError::Open { path: owned(), source })?;
        // SAFETY: the type is that of polyloom_plugin.h for the symbol of this name; a library that exports it as something else breaks the
        // contract, and with it its own process.
        let entry: Result<Symbol<Entry>, _> = unsafe { library.get(ENTRY) };
        let entry = entry.map_err(|_| LoadError::NoEntry { path: owned() })?;
        // SAFETY: as above. An exception that leaves an `extern "C"` function ends the process.
        let plugin = unsafe { entry() };
        // Threads and exit handlers of it may run until the end.
        std::mem::forget(library);
        if plugin.is_null() {
            return Err(LoadError::Refused { path: owned() });
        }
        // SAFETY: by the contract it points to a struct that begins with its size and lives for ever; only the size is read before it was looked at.
        let size = unsafe { (*plugin).size };
        let wrong = |what: String| LoadError::Wrong { path: owned(), what };
        if size < Plugin::LEAST {
            let least = Plugin::LEAST;
            return Err(wrong(format!("has {size} bytes, and version 1 has at least {least}")));
        }
        // SAFETY: `size` bytes are there, of which no more are read than this side knows; zeroes, the NULL of what an older header does not have, are
        // a value of every field.
        let plugin = unsafe {
            let mut known = MaybeUninit::<Plugin>::zeroed();
            let length = size.min(size_of::<Plugin>());
            std::ptr::copy_nonoverlapping(plugin.cast::<u8>(), known.as_mut_ptr().cast(), length);
            known.assume_init()
        };
        let must = |text: *const c_char, name: &str| {
            words(text).ok_or_else(|| wrong(format!("has no `{name}`")))
        };
        if plugin.exec.is_none() {
            return Err(wrong("has no `exec`".to_owned()));
        }
        let mut about = About::new(&must(plugin.id, "id")?, &must(plugin.version, "version")?);
        about.runtime = words(plugin.runtime).unwrap_or_default();
        let features = words(plugin.features).unwrap_or_default();
        about.features = features.split_whitespace().map(str::to_owned).collect();
        // SAFETY: a function of the plugin, called as its contract says, once.
        let this = plugin.open.map_or(std::ptr::null_mut(), |open| unsafe { open() });
        Ok(Self { plugin, this, about })
    }
}

/// Calls a function of the plugin with a name.
#[expect(unsafe_code, reason = "a library behind a C interface is called")]
fn named(
    function: Option<unsafe extern "C" fn(*mut c_void, *const c_char)>,
    this: *mut c_void,
    name: &str,
) {
    // A name with a NUL inside is nobody's.
    if let (Some(function), Ok(name)) = (function, CString::new(name)) {
        // SAFETY: a function of the plugin, called as its contract says; the name lives until it returns.
        unsafe { function(this, name.as_ptr()) };
    }
}

/// The text behind a pointer, if there is one.
#[expect(unsafe_code, reason = "text of a C interface")]
fn words(text: *const c_char) -> Option<String> {
    // SAFETY: by the contract it is NULL or ends with NUL, and lives for ever.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[expect(unsafe_code, reason = "a library behind a C interface is called")]
impl Executor for Native {
    fn describe(&self) -> About {
        self.about.clone()
    }

    fn exec(&mut self, cx: &mut Context<'_>, exec: &Exec) -> Result<(), Failure> {
        let Some(run) = self.plugin.exec else {
            return Err(Failure::new("the plugin has no `exec`"));
        };
        let mut call = Call::new(cx, exec)?;
        // SAFETY: a function of the plugin, called as its contract says: one at a time, with what lives until it returns.
        let code = call.with(|x| unsafe { run(self.this, x) });
        // SAFETY: NULL means every stream; stdio locks them itself.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        match (code, call.failure()) {
            (0, None) => Ok(()),
            (_, Some(failure)) => Err(failure),
            (code, None) => {
                let what = format!("it returned {code} and said nothing; `plx_fail` says why");
                Err(Failure::of_executor(&self.about.executor, what))
            }
        }
    }

    fn reset(&mut self) {
        if let Some(reset) = self.plugin.reset {
            // SAFETY: as for `exec`.
            unsafe { reset(self.this) };
        }
    }

    fn snapshot(&mut self, name: &str) -> Result<(), Failure> {
        named(self.plugin.snapshot, self.this, name);
        Ok(())
    }

    fn restore(&mut self, name: &str) -> Result<(), Failure> {
        named(self.plugin.restore, self.this, name);
        Ok(())
    }

    fn catalog(&mut self) -> Result<Vec<BTreeMap<String, Value>>, Failure> {
        let Some(catalog) = self.plugin.catalog else { return Ok(Vec::new()) };
        // SAFETY: a function of the plugin, called as its contract says.
        let text = unsafe { catalog(self.this) };
        let entries = if text.is_null() {
            Err("is NULL; without entries it is `[]`".to_owned())
        } else {
            // SAFETY: by the contract it ends with NUL and lives until the next call; behind the first byte too many nothing is read.
            let bytes = unsafe {
                let length = libc::strnlen(text, catalog::MOST + 1);
                std::slice::from_raw_parts(text.cast::<u8>(), length)
            };
            catalog::read(bytes)
        };
        entries.map_err(|what| Failure::new(format!("the text of `catalog` {what}")))
    }
}

#[expect(unsafe_code, reason = "a library behind a C interface is called")]
impl Drop for Native {
    fn drop(&mut self) {
        if let Some(close) = self.plugin.close {
            // SAFETY: as for `exec`; it is the last call.
            unsafe { close(self.this) };
        }
    }
}
