//! The run of one cell for a library: what it may read, and the functions by which it asks the host. Knows no library.

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr;

use polyloom_sdk::{Context, Diagnostic, Exec, Failure, LogLevel, Severity};

use crate::abi;

/// What one call of a plugin's `exec` can reach.
pub struct Call<'a, 'c> {
    cx: &'a mut Context<'c>,
    exec: abi::Exec,
    /// What it points to.
    _held: (Vec<CString>, Vec<*const c_char>, Vec<abi::Input>, Vec<abi::Output>),
    /// Texts of inputs that were given out, each with a NUL behind it.
    given: Vec<Box<[u8]>>,
    failure: Option<Failure>,
}

static HOST: abi::Host = abi::Host {
    size: size_of::<abi::Host>(),
    log,
    progress,
    display,
    artifact,
    fail,
    warn,
    cancelled,
    text,
    write,
    run,
    compile_and_run,
    session_changed,
};

impl<'a, 'c> Call<'a, 'c> {
    /// Spells an exec as C has it.
    ///
    /// # Errors
    /// When a text of it has a NUL inside, which the host does not allow.
    pub fn new(cx: &'a mut Context<'c>, exec: &Exec) -> Result<Self, Failure> {
        let mut texts = Vec::new();
        // The heap keeps a text where it is while the list of them grows.
        let mut keep = |text: &str| -> Result<*const c_char, Failure> {
            let text = CString::new(text)?;
            let at = text.as_ptr();
            texts.push(text);
            Ok(at)
        };
        let (cell, code, out) = (keep(&exec.cell)?, keep(&exec.code)?, keep(&exec.out)?);
        let mut argv = Vec::new();
        for argument in &exec.argv {
            argv.push(keep(argument)?);
        }
        let argc = argv.len();
        argv.push(ptr::null());
        let mut inputs = Vec::new();
        for (port, input) in &exec.inputs {
            inputs.push(abi::Input {
                port: keep(port)?,
                r#type: keep(&input.r#type)?,
                path: keep(&input.path)?,
                encoding: keep(&input.encoding.to_string())?,
                media: input.media.as_deref().map_or(Ok(ptr::null()), &mut keep)?,
            });
        }
        let mut outputs = Vec::new();
        for (port, output) in &exec.outputs {
            outputs.push(abi::Output { port: keep(port)?, r#type: keep(&output.r#type)? });
        }
        let exec = abi::Exec {
            size: size_of::<abi::Exec>(),
            cell,
            code,
            out,
            argv: argv.as_ptr(),
            argc,
            inputs: inputs.as_ptr(),
            inputs_length: inputs.len(),
            outputs: outputs.as_ptr(),
            outputs_length: outputs.len(),
            deadline_ms: exec.deadline_ms.unwrap_or(0),
            seed: exec.seed.unwrap_or(0),
            has_seed: exec.seed.is_some().into(),
            host: &raw const HOST,
            context: ptr::null_mut(),
        };
        let held = (texts, argv, inputs, outputs);
        Ok(Self { cx, exec, _held: held, given: Vec::new(), failure: None })
    }

    /// Calls with a pointer to the exec, by which the functions below find this call again.
    #[expect(unsafe_code, reason = "a call that C refers to")]
    pub fn with<T>(&mut self, call: impl FnOnce(*mut abi::Exec) -> T) -> T {
        let this: *mut Self = self;
        // SAFETY: it was made of a reference just now, and the reference is not used until the call is over.
        unsafe {
            (*this).exec.context = this.cast();
            call(&raw mut (*this).exec)
        }
    }

    /// Why the cell failed, by the plugin's own words.
    pub fn failure(self) -> Option<Failure> {
        self.failure
    }

    /// Keeps a failure, the first of them, and gives -1.
    fn failed(&mut self, failure: Failure) -> i32 {
        self.failure.get_or_insert(failure);
        -1
    }

    fn result(&mut self, result: Result<(), Failure>) -> i32 {
        result.map_or_else(|failure| self.failed(failure), |()| 0)
    }

    fn place(line: u32, column: u32, severity: Severity, message: String) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(severity, message);
        diagnostic.line = (line > 0).then_some(line);
        diagnostic.col = (column > 0).then_some(column);
        diagnostic
    }
}

/// The call that an exec is of.
#[expect(unsafe_code, reason = "a pointer comes back from C")]
fn this<'x>(x: *mut abi::Exec) -> &'x mut Call<'x, 'x> {
    // SAFETY: plugins are given exactly one `plx_exec`, whose `context` `Call::with` has set to itself and which lives until the plugin's `exec`
    // returns; by the contract they call in the same thread, so that nothing else uses the call meanwhile. The lifetimes end with this function's
    // callers, none of which keeps the reference.
    unsafe { &mut *(*x).context.cast::<Call<'x, 'x>>() }
}

#[expect(unsafe_code, reason = "text of a C interface")]
fn words(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the contract it ends with NUL, and lives until the function it was given to returns.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[expect(unsafe_code, reason = "bytes of a C interface")]
fn bytes<'x>(data: *const c_void, length: usize) -> &'x [u8] {
    if data.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: by the contract there are `length` bytes, which live until the function they were given to returns; no caller keeps them.
    unsafe { std::slice::from_raw_parts(data.cast(), length) }
}

/// A program and its arguments; nothing where there is no program.
#[expect(unsafe_code, reason = "a list of texts of a C interface")]
fn command(argv: *const *const c_char) -> Option<Command> {
    let mut items = Vec::new();
    while !argv.is_null() {
        // SAFETY: by the contract NULL is at the end of the list, which is not gone beyond.
        let item = unsafe { *argv.add(items.len()) };
        if item.is_null() {
            break;
        }
        // SAFETY: as in `words`.
        items.push(OsStr::from_bytes(unsafe { CStr::from_ptr(item) }.to_bytes()));
    }
    let (program, arguments) = items.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments);
    Some(command)
}

extern "C" fn log(x: *mut abi::Exec, level: i32, text: *const c_char, length: usize) {
    let level = match level {
        ..=0 => LogLevel::Debug,
        1 => LogLevel::Info,
        2 => LogLevel::Warn,
        3.. => LogLevel::Error,
    };
    this(x).cx.log(level, &String::from_utf8_lossy(bytes(text.cast(), length)));
}

extern "C" fn progress(x: *mut abi::Exec, fraction: f64, text: *const c_char) {
    this(x).cx.progress((fraction >= 0.0).then_some(fraction), &words(text));
}

extern "C" fn display(
    x: *mut abi::Exec,
    media: *const c_char,
    data: *const c_void,
    length: usize,
) -> i32 {
    let call = this(x);
    let shown = call.cx.display(&words(media), bytes(data, length));
    call.result(shown)
}

extern "C" fn artifact(
    x: *mut abi::Exec,
    name: *const c_char,
    path: *const c_char,
    media: *const c_char,
) -> i32 {
    let media = (!media.is_null()).then(|| words(media));
    this(x).cx.artifact(&words(name), words(path).as_ref(), media.as_deref());
    0
}

extern "C" fn fail(x: *mut abi::Exec, line: u32, column: u32, message: *const c_char) {
    let told = Call::place(line, column, Severity::Error, words(message));
    this(x).failed(Failure::told_by(told));
}

extern "C" fn warn(x: *mut abi::Exec, line: u32, column: u32, message: *const c_char) {
    let call = this(x);
    let mut told = Call::place(line, column, Severity::Warning, words(message));
    told.file = Some(words(call.exec.code));
    call.cx.diagnostic(&told);
}

extern "C" fn cancelled(x: *mut abi::Exec) -> i32 {
    this(x).cx.cancelled().into()
}

#[expect(unsafe_code, reason = "a length is written where C wants it")]
extern "C" fn text(x: *mut abi::Exec, port: *const c_char, length: *mut usize) -> *const c_char {
    let call = this(x);
    let Ok(mut text) = call.cx.read_text(&words(port)) else { return ptr::null() };
    if !length.is_null() {
        // SAFETY: by the contract it is NULL or points to a `size_t` of the caller's.
        unsafe { *length = text.len() };
    }
    text.push(0);
    call.given.push(text.into_boxed_slice());
    call.given.last().map_or(ptr::null(), |text| text.as_ptr().cast())
}

extern "C" fn write(
    x: *mut abi::Exec,
    name: *const c_char,
    data: *const c_void,
    length: usize,
) -> i32 {
    let (call, name) = (this(x), words(name));
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return call.failed(Failure::new(format!(
            "`{}` is no name of an output; valid: PORT or PORT.EXTENSION",
            name.escape_debug()
        )));
    }
    let written = call.cx.write_file(&name, "", bytes(data, length));
    call.result(written)
}

extern "C" fn run(x: *mut abi::Exec, argv: *const *const c_char) -> i32 {
    let call = this(x);
    let Some(mut command) = command(argv) else {
        return call.failed(Failure::new("no program was named"));
    };
    match call.cx.run(&mut command) {
        Ok(ran) => ran.status.code().unwrap_or_else(|| 128 + ran.status.signal().unwrap_or(0)),
        Err(failure) => call.failed(failure),
    }
}

extern "C" fn compile_and_run(
    x: *mut abi::Exec,
    compiler: *const *const c_char,
    program: *const *const c_char,
) -> i32 {
    let call = this(x);
    let (Some(mut compiler), Some(mut program)) = (command(compiler), command(program)) else {
        return call.failed(Failure::new("no program was named"));
    };
    let ran = call.cx.compile_and_run(&mut compiler, &mut program);
    call.result(ran)
}

extern "C" fn session_changed(x: *mut abi::Exec) {
    this(x).cx.session_changed();
}
