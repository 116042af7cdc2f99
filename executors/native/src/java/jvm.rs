//! A Java virtual machine in this process, made and used as the program `java` does (`java.c` of the JDK's `libjli`), by the Java Native Interface.
//!
//! Its functions are a table, of which these are the places: chapter 4 of the JNI specification, the same in every version.

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::ExitCode;
use std::ptr::null_mut;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW, Symbol};

use super::cell::Start;

const VERSION_1_6: i32 = 0x0001_0006;
/// The stack of `main`: what `java` gives it.
const STACK: usize = if cfg!(target_arch = "aarch64") { 2 << 20 } else { 1 << 20 };

/// Of the interface of a thread.
mod place {
    pub const FIND_CLASS: usize = 6;
    pub const EXCEPTION_CLEAR: usize = 17;
    pub const NEW_OBJECT: usize = 30;
    pub const GET_METHOD: usize = 33;
    pub const CALL_VOID: usize = 63;
    pub const GET_STATIC_METHOD: usize = 113;
    pub const CALL_STATIC_OBJECT: usize = 116;
    pub const CALL_STATIC_VOID: usize = 143;
    pub const GET_STATIC_FIELD: usize = 144;
    pub const GET_STATIC_BOOLEAN: usize = 146;
    pub const NEW_STRING: usize = 167;
    pub const NEW_ARRAY: usize = 172;
    pub const SET_ELEMENT: usize = 174;
    pub const NEW_BYTES: usize = 176;
    pub const SET_BYTES: usize = 208;
    pub const EXCEPTION_CHECK: usize = 228;
    /// Of the machine's.
    pub const DESTROY: usize = 3;
    pub const DETACH: usize = 5;
}

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The program belongs to no JDK as they are laid out.
    #[error("there is no `lib/server/libjvm.so` beside the program `java`")]
    NoLibrary,
    /// The dynamic linker's word.
    #[error("the library of the machine can't be loaded: {0}")]
    Load(#[from] libloading::Error),
    /// The machine's word; more of it is on stderr.
    #[error("the machine did not start: code {0}")]
    Create(i32),
}

#[repr(C)]
struct Options {
    version: i32,
    count: i32,
    all: *mut Setting,
    ignore_unrecognized: u8,
}

#[repr(C)]
struct Setting {
    text: *mut c_char,
    extra: *mut c_void,
}

type Table = *mut *const *const c_void;
type Object = *mut c_void;

/// A machine, and the thread of it that is this one.
pub struct Machine {
    machine: Table,
    env: Table,
}

/// The function at a place of a table.
///
/// # Safety
/// The table is one of a machine that lives, and `F` the type of the function there.
#[expect(unsafe_code, reason = "an interface of C")]
unsafe fn function<F: Copy>(table: Table, place: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
    // SAFETY: by the contract.
    unsafe { std::mem::transmute_copy::<*const c_void, F>(&*(*table).add(place)) }
}

#[expect(unsafe_code, reason = "an interface of C")]
impl Machine {
    /// Makes one. It is the only one of this process, and stays until that ends. Its class path is the folder `nowhere`, in which nothing ever is: where its
    /// classes are it is told when it runs them, since there may be none yet.
    pub fn make(library: &Path, nowhere: &CStr, options: &[CString]) -> Result<Self, Refused> {
        type Create = unsafe extern "C" fn(*mut Table, *mut Table, *mut Options) -> i32;
        // SAFETY: it is the library of the JDK whose `java` would load it into its own process.
        let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL) }?;
        // SAFETY: the type is that of jni.h.
        let create: Symbol<Create> = unsafe { library.get(b"JNI_CreateJavaVM\0") }?;
        let path = [b"-Djava.class.path=", nowhere.to_bytes()].concat();
        let own = [path, b"-Dsun.java.launcher=SUN_STANDARD".to_vec()];
        let own = own.map(|text| CString::new(text).unwrap_or_default());
        let setting =
            |text: &CString| Setting { text: text.as_ptr().cast_mut(), extra: null_mut() };
        let mut all: Vec<_> = options.iter().chain(&own).map(setting).collect();
        let mut options = Options {
            version: VERSION_1_6,
            count: i32::try_from(all.len()).unwrap_or(0),
            all: all.as_mut_ptr(),
            ignore_unrecognized: 0,
        };
        let (mut machine, mut env): (Table, Table) = (null_mut(), null_mut());
        // SAFETY: all of it lives until the call returns.
        let code = unsafe { create(&raw mut machine, &raw mut env, &raw mut options) };
        // Its threads run until the process ends.
        std::mem::forget(library);
        if code == 0 { Ok(Self { machine, env }) } else { Err(Refused::Create(code)) }
    }

    /// Ends the process: there is no cell.
    pub fn leave(&self) -> ! {
        // The machine's own threads are asked nothing.
        // SAFETY: it does not return.
        unsafe { libc::_exit(0) }
    }

    /// Runs a class, and waits for all of its threads that have to end: what `java` ends with.
    pub fn run(&self, classes: &CStr, start: &Start) -> ExitCode {
        let ended = self.call_main(classes, start);
        // What was thrown is told by the handler of the thread that goes.
        type Leave = unsafe extern "C" fn(Table) -> i32;
        // SAFETY: functions of the machine, called from the thread that made it; nothing of that thread is used any more.
        unsafe {
            let (detach, destroy): (Leave, Leave) =
                (function(self.machine, place::DETACH), function(self.machine, place::DESTROY));
            let detached = detach(self.machine);
            destroy(self.machine);
            match ended.is_some() && detached == 0 {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
    }

    /// Nothing where something was thrown.
    fn call_main(&self, classes: &CStr, start: &Start) -> Option<()> {
        self.add_classes(classes)?;
        let helper = self.class(c"sun/launcher/LauncherHelper")?;
        let signature = c"(ZILjava/lang/String;)Ljava/lang/Class;";
        let check = self.static_method(helper, c"checkAndLoadMain", signature)?;
        // It prints what is wrong, and ends the process then.
        const PRINTED: u64 = 1;
        const BY_CLASS: u64 = 1;
        let name = self.string(helper, &start.class)?;
        let class = self.call_object(helper, check, &[PRINTED, BY_CLASS, name as u64])?;
        let strings = self.class(c"java/lang/String")?;
        let count = i32::try_from(start.args.len()).ok()?;
        // SAFETY: a class of the machine and a length.
        let args = unsafe {
            type New = unsafe extern "C" fn(Table, i32, Object, Object) -> Object;
            let new: New = function(self.env, place::NEW_ARRAY);
            new(self.env, count, strings, null_mut())
        };
        for (at, arg) in (0..).zip(&start.args) {
            let text = self.string(helper, arg)?;
            // SAFETY: an array of texts and an index that it has.
            unsafe {
                type Set = unsafe extern "C" fn(Table, Object, i32, Object);
                let set: Set = function(self.env, place::SET_ELEMENT);
                set(self.env, args, at, text);
            }
        }
        self.set_properties(helper, classes, start)?;
        // Since version 21 `main` may be of an instance and take nothing.
        let is_static = self.flag(helper, c"isStaticMain").unwrap_or(true);
        let takes = !self.flag(helper, c"noArgMain").unwrap_or(false);
        let signature = if takes { c"([Ljava/lang/String;)V" } else { c"()V" };
        let args = [args as u64];
        if is_static {
            let main = self.static_method(class, c"main", signature)?;
            return self.call_void(place::CALL_STATIC_VOID, class, main, &args);
        }
        let new = self.method(class, c"<init>", c"()V")?;
        let main = self.method(class, c"main", signature)?;
        let instance = self.call(place::NEW_OBJECT, class, new, &[])?;
        self.call_void(place::CALL_VOID, instance, main, &args)
    }

    /// What `java` would say that it runs, and where it finds that.
    fn set_properties(&self, helper: Object, classes: &CStr, start: &Start) -> Option<()> {
        let system = self.class(c"java/lang/System")?;
        let signature = c"(Ljava/lang/String;Ljava/lang/String;)Ljava/lang/String;";
        let set = self.static_method(system, c"setProperty", signature)?;
        let words = std::iter::once(&start.class).chain(&start.args);
        let words = words.cloned().collect::<Vec<_>>().join(&b' ');
        for (name, value) in
            [(c"java.class.path", classes.to_bytes()), (c"sun.java.command", words.as_slice())]
        {
            let (name, value) = (self.plain_string(name)?, self.string(helper, value)?);
            self.call_object(system, set, &[name as u64, value as u64])?;
        }
        Some(())
    }

    /// Has the loader of the class path look for classes there, too: what it does for agents, it does for us.
    fn add_classes(&self, classes: &CStr) -> Option<()> {
        let loaders = self.class(c"java/lang/ClassLoader")?;
        let signature = c"()Ljava/lang/ClassLoader;";
        let get = self.static_method(loaders, c"getSystemClassLoader", signature)?;
        let loader = self.call_object(loaders, get, &[])?;
        let class = self.class(c"jdk/internal/loader/ClassLoaders$AppClassLoader")?;
        let add = c"appendToClassPathForInstrumentation";
        let add = self.method(class, add, c"(Ljava/lang/String;)V")?;
        let path = self.plain_string(classes)?;
        self.call_void(place::CALL_VOID, loader, add, &[path as u64])
    }

    /// A class, loaded and initialised.
    fn class(&self, name: &CStr) -> Option<Object> {
        type Find = unsafe extern "C" fn(Table, *const c_char) -> Object;
        // SAFETY: a name that ends.
        let found = unsafe {
            let find: Find = function(self.env, place::FIND_CLASS);
            find(self.env, name.as_ptr())
        };
        (!found.is_null()).then_some(found)
    }

    fn method(&self, class: Object, name: &CStr, signature: &CStr) -> Option<Object> {
        self.member(place::GET_METHOD, class, name, signature)
    }

    fn static_method(&self, class: Object, name: &CStr, signature: &CStr) -> Option<Object> {
        self.member(place::GET_STATIC_METHOD, class, name, signature)
    }

    fn member(&self, get: usize, class: Object, name: &CStr, of: &CStr) -> Option<Object> {
        type Get = unsafe extern "C" fn(Table, Object, *const c_char, *const c_char) -> Object;
        // SAFETY: a class of the machine, and texts that end.
        let found = unsafe {
            let get: Get = function(self.env, get);
            get(self.env, class, name.as_ptr(), of.as_ptr())
        };
        (!found.is_null()).then_some(found)
    }

    /// A static field; nothing where there is none.
    fn flag(&self, class: Object, name: &CStr) -> Option<bool> {
        type Get = unsafe extern "C" fn(Table, Object, Object) -> u8;
        let Some(field) = self.member(place::GET_STATIC_FIELD, class, name, c"Z") else {
            self.forget_exception();
            return None;
        };
        // SAFETY: a class of the machine and a field of it that is a truth.
        let set = unsafe {
            let get: Get = function(self.env, place::GET_STATIC_BOOLEAN);
            get(self.env, class, field)
        };
        Some(set != 0)
    }

    fn call_object(&self, class: Object, method: Object, args: &[u64]) -> Option<Object> {
        self.call(place::CALL_STATIC_OBJECT, class, method, args)
    }

    /// Calls what gives an object.
    fn call(&self, by: usize, on: Object, method: Object, args: &[u64]) -> Option<Object> {
        type Call = unsafe extern "C" fn(Table, Object, Object, *const u64) -> Object;
        // SAFETY: a method of what it is called on, with arguments as its signature has them, each in a `jvalue` of eight bytes.
        let made = unsafe {
            let call: Call = function(self.env, by);
            call(self.env, on, method, args.as_ptr())
        };
        (!self.has_thrown()).then_some(made)
    }

    fn call_void(&self, by: usize, on: Object, method: Object, args: &[u64]) -> Option<()> {
        type Call = unsafe extern "C" fn(Table, Object, Object, *const u64);
        // SAFETY: as above.
        unsafe {
            let call: Call = function(self.env, by);
            call(self.env, on, method, args.as_ptr());
        }
        (!self.has_thrown()).then_some(())
    }

    /// A text of an argument, in the encoding of the system, as `java` reads it.
    fn string(&self, helper: Object, text: &[u8]) -> Option<Object> {
        type New = unsafe extern "C" fn(Table, i32) -> Object;
        type Set = unsafe extern "C" fn(Table, Object, i32, i32, *const u8);
        let length = i32::try_from(text.len()).ok()?;
        // SAFETY: an array of as many bytes as are put into it.
        let bytes = unsafe {
            let (new, set): (New, Set) =
                (function(self.env, place::NEW_BYTES), function(self.env, place::SET_BYTES));
            let bytes = new(self.env, length);
            if !bytes.is_null() {
                set(self.env, bytes, 0, length, text.as_ptr());
            }
            bytes
        };
        let make = c"makePlatformString";
        let make = self.static_method(helper, make, c"(Z[B)Ljava/lang/String;")?;
        self.call_object(helper, make, &[1, bytes as u64])
    }

    /// A text without anything that is not ASCII.
    fn plain_string(&self, text: &CStr) -> Option<Object> {
        type New = unsafe extern "C" fn(Table, *const c_char) -> Object;
        // SAFETY: a text that ends.
        let made = unsafe {
            let new: New = function(self.env, place::NEW_STRING);
            new(self.env, text.as_ptr())
        };
        (!made.is_null()).then_some(made)
    }

    /// What was looked for and is not there is nobody's exception.
    fn forget_exception(&self) {
        type Clear = unsafe extern "C" fn(Table);
        // SAFETY: a function of the machine.
        unsafe {
            let clear: Clear = function(self.env, place::EXCEPTION_CLEAR);
            clear(self.env);
        }
    }

    fn has_thrown(&self) -> bool {
        type Check = unsafe extern "C" fn(Table) -> u8;
        // SAFETY: a function of the machine.
        unsafe {
            let check: Check = function(self.env, place::EXCEPTION_CHECK);
            check(self.env) != 0
        }
    }
}

/// Has the one machine of this process, and all that its thread does, on a thread that is like that of `java`: the stack is as large, and signals come on
/// it, where the machine looks for them.
#[expect(unsafe_code, reason = "what no library has a function for")]
pub fn on_a_thread_of_its_own(
    work: impl FnOnce() -> ExitCode + Send + 'static,
) -> std::io::Result<ExitCode> {
    let own = move || {
        let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: this thread's own.
        unsafe { libc::sigaltstack(&raw const none, null_mut()) };
        work()
    };
    let thread = std::thread::Builder::new().name("java".to_owned()).stack_size(STACK);
    Ok(thread.spawn(own)?.join().unwrap_or(ExitCode::FAILURE))
}

/// Gives the process an environment and no other. The machine has not looked at it, and none of its threads does by itself.
#[expect(unsafe_code, reason = "the environment belongs to all threads")]
pub fn set_environment(env: &[Vec<u8>]) {
    // SAFETY: no other thread of this process looks at the environment: those of the machine do where a program of its asks, and there is none yet. What is
    // put into it lives for ever.
    unsafe {
        libc::clearenv();
        for pair in env {
            if let Ok(pair) = CString::new(pair.as_slice()) {
                libc::putenv(pair.into_raw());
            }
        }
    }
}

/// Puts a file in the place of standard input.
#[expect(unsafe_code, reason = "a descriptor is replaced by its number")]
pub fn as_stdin(file: &impl AsFd) -> std::io::Result<()> {
    // SAFETY: nobody here reads standard input any more.
    match unsafe { libc::dup2(file.as_fd().as_raw_fd(), 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
