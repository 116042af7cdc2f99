//! The program that calls a function: reads its arguments by `polyloom.h`, calls it once, writes what it gives. Text for a compiler of C99.
//!
//! Names of its own begin with `pl_c_`, those of arguments with `pl_x_`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::arguments::{Argument, By, Callable, Role, Size};
use crate::shape::{Int, Shape};

const BEGIN: &str = "\
PL_API int64_t pl_c_int(pl_value v, int64_t least, int64_t most, const char *type) {
  int64_t n = pl_as_int(v);
  if (n < least || n > most) pl_fail(\"input `%s`: %lld does not fit %s\", v.port, (long long)n, type);
  return n;
}
PL_API void pl_c_list(pl_value v) {
  if (v.kind != PL_KIND_LIST) pl_wrong_kind(v, \"list\");
}
PL_API void pl_c_size(const char *port, int64_t found, int64_t wanted, const char *as) {
  if (found != wanted) pl_fail(\"input `%s`: expected %lld along `%s`, found %lld\", port, (long long)wanted, as, (long long)found);
}
PL_API void pl_c_put_str(pl_writer *w, const char *text) {
  if (!text) pl_fail(\"output `%s`: the function gave NULL\", w->port);
  pl_put_str(w, text);
}
PL_API void pl_c_put_unsigned(pl_writer *w, uint64_t n) {
  if (n > INT64_MAX) pl_fail(\"output `%s`: %llu is more than an int of 64 bits holds\", w->port, (unsigned long long)n);
  pl_put_int(w, (int64_t)n);
}
PL_API void pl_c_put_tensor(const char *port, pl_dtype dtype, const void *data, int64_t size, const int64_t *shape, int ndim) {
  void *to;
  size_t width = pl_dtype_size(dtype);
  if (ndim < 0 || ndim > PL_MAX_DIMS) pl_fail(\"output `%s`: %d dimensions\", port, ndim);
  if (width == 0 || pl_shape_size(shape, ndim, width) != size) pl_fail(\"output `%s`: its size is not that of its shape\", port);
  if (!data && size > 0) pl_fail(\"output `%s`: the function gave NULL\", port);
  to = pl_out_tensor(port, dtype, shape, ndim);
  if (size > 0) memcpy(to, data, (size_t)size * width);
}
";

/// The whole program. `from` is the folder that it lies in, `files` are what it includes.
pub(crate) fn program(from: &Path, files: &[&PathBuf], name: &str, call: &Callable) -> String {
    // The one line that is compiled ahead.
    let mut it = Program { text: "#include <polyloom.h>\n".to_owned(), next: 0 };
    for file in files {
        let path = file.strip_prefix(from).map_or_else(
            |_| {
                let up: PathBuf = from.components().map(|_| "..").collect();
                up.join(file)
            },
            Path::to_owned,
        );
        it.line(&format!("#include \"{}\"", path.display()));
    }
    it.text.push_str(BEGIN);
    it.line("int main(void) {");
    // Sizes that nothing else says come first, then what has them.
    let is_array =
        |argument: &&Argument| matches!(argument.role, Role::InArray(..) | Role::Text(_));
    for argument in call.arguments.iter().filter(|it| !is_array(it)) {
        it.input(argument);
    }
    let mut bound = Vec::new();
    for argument in call.arguments.iter().filter(is_array) {
        it.array(argument, &mut bound);
    }
    for argument in &call.arguments {
        it.output(argument);
    }
    let arguments: Vec<String> = call.arguments.iter().map(passed).collect();
    let called = format!("{name}({})", arguments.join(", "));
    match &call.gives {
        Some(_) => it.line(&format!("{} pl_c_result = {called};", call.spelled)),
        None => it.line(&format!("{called};")),
    }
    if let Some(shape) = &call.gives {
        it.write("result", shape, "pl_c_result");
    }
    for argument in &call.arguments {
        let own = format!("pl_x_{}", argument.name);
        match &argument.role {
            Role::Out(shape) => it.write(&argument.port, shape, &own),
            Role::OutText => it.write(&argument.port, &Shape::Str, &own),
            Role::OutMade(shape, count) => {
                let (port, dtype) = (&argument.port, dtype(shape));
                it.line(&format!("{{ int64_t size = (int64_t)pl_x_{count}; pl_c_put_tensor(\"{port}\", {dtype}, {own}, size, &size, 1); }}"));
            }
            _ => {}
        }
    }
    it.line("return 0;");
    it.line("}");
    it.text
}

/// How an argument is handed over.
fn passed(argument: &Argument) -> String {
    let own = format!("pl_x_{}", argument.name);
    match &argument.role {
        Role::In(_, By::Value) | Role::Text(_) | Role::Seed(_) | Role::Size(_) => own,
        Role::In(_, By::Pointer) | Role::Out(_) | Role::OutSize => format!("&{own}"),
        // Rows of an array have types of their own, and so has what only differs in `const`.
        Role::InArray(..) | Role::OutArray(..) => format!("(void *){own}"),
        Role::OutText | Role::OutMade(..) => format!("(void *)&{own}"),
    }
}

/// The constant of `polyloom.h`.
fn dtype(shape: &Shape) -> String {
    match shape.element() {
        Some("flags") => "PL_BOOL".to_owned(),
        element => format!("PL_{}", element.unwrap_or_default().to_ascii_uppercase()),
    }
}

fn size(size: &Size) -> String {
    match size {
        Size::Number(number) => number.to_string(),
        Size::Of(name) => format!("(int64_t)pl_x_{name}"),
    }
}

struct Program {
    text: String,
    next: usize,
}

impl Program {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    /// A name that is nobody's.
    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("pl_x{}", self.next)
    }

    /// What is no array.
    fn input(&mut self, argument: &Argument) {
        let Argument { name, port, spelled, .. } = argument;
        let own = format!("pl_x_{name}");
        match &argument.role {
            Role::In(Shape::Span(element), _) => {
                self.line(&format!("{spelled} {own} = pl_in_{element}(\"{port}\");"));
            }
            Role::In(Shape::Tensor, _) => {
                self.line(&format!("{spelled} {own} = pl_in_tensor(\"{port}\");"));
            }
            Role::In(shape, _) => {
                let value = self.fresh();
                self.line(&format!("{spelled} {own}; pl_value {value} = pl_in_value(\"{port}\");"));
                // What lies between fields is the same each time.
                self.line(&format!("memset(&{own}, 0, sizeof {own});"));
                self.read(shape, &own, &value);
            }
            Role::Seed(_) => self.line(&format!(
                "{spelled} {own} = ({spelled})(pl_has_input(\"{port}\") ? pl_in_int(\"{port}\") : getenv(\"POLYLOOM_SEED\") ? strtoll(getenv(\"POLYLOOM_SEED\"), NULL, 10) : 0);"
            )),
            Role::Size(_) | Role::OutSize => self.line(&format!("{spelled} {own} = 0;")),
            Role::Out(_) => self.line(&format!("{spelled} {own}; memset(&{own}, 0, sizeof {own});")),
            Role::OutText => self.line(&format!("const char *{own} = NULL;")),
            Role::OutMade(..) => self.line(&format!("{spelled} *{own} = NULL;")),
            Role::OutArray(..) | Role::InArray(..) | Role::Text(_) => {}
        }
    }

    /// What is an array or a text: its sizes are those of what is there.
    fn array(&mut self, argument: &Argument, bound: &mut Vec<String>) {
        let Argument { name, port, spelled, .. } = argument;
        let own = format!("pl_x_{name}");
        match &argument.role {
            Role::Text(length) => {
                self.line(&format!("const char *{own} = pl_in_str(\"{port}\");"));
                if let Some(length) = length {
                    self.size(
                        port,
                        &Size::Of(length.clone()),
                        &format!("(int64_t)pl_in_text(\"{port}\").size"),
                        bound,
                    );
                }
            }
            Role::InArray(shape, sizes) => match shape.element() {
                Some(element) => {
                    let span = self.fresh();
                    let count = sizes.len();
                    self.line(&format!("pl_span_{element} {span} = pl_in_{element}(\"{port}\");"));
                    self.line(&format!("if ({span}.ndim != {count}) pl_fail(\"input `{port}`: expected a tensor of {count} dimensions, found one of %d\", {span}.ndim);"));
                    for (at, size) in sizes.iter().enumerate() {
                        self.size(port, size, &format!("{span}.shape[{at}]"), bound);
                    }
                    self.line(&format!("const void *{own} = {span}.data;"));
                }
                None => {
                    let (value, cursor, item, at) =
                        (self.fresh(), self.fresh(), self.fresh(), self.fresh());
                    let spelled = if *shape == Shape::Str { "const char *" } else { spelled };
                    self.line(&format!(
                        "pl_value {value} = pl_in_value(\"{port}\"), {item}; pl_c_list({value});"
                    ));
                    if let Some(size) = sizes.first() {
                        self.size(port, size, &format!("(int64_t)pl_count({value})"), bound);
                    }
                    // Each item takes a byte at least: there are no more than the input is long.
                    self.line(&format!(
                        "{spelled} *{own} = pl_alloc((pl_count({value}) + 1) * sizeof *{own});"
                    ));
                    self.line(&format!("pl_cursor {cursor} = pl_items({value}); size_t {at};"));
                    self.line(&format!(
                        "for ({at} = 0; pl_next(&{cursor}, NULL, &{item}); {at}++) {{"
                    ));
                    self.read(shape, &format!("{own}[{at}]"), &item);
                    self.line("}");
                }
            },
            _ => {}
        }
    }

    /// One size: that of the first array that has it, which all others are to have.
    fn size(&mut self, port: &str, size: &Size, found: &str, bound: &mut Vec<String>) {
        match size {
            Size::Number(number) => {
                self.line(&format!("pl_c_size(\"{port}\", {found}, {number}, \"{number}\");"));
            }
            Size::Of(name) if bound.contains(name) => {
                self.line(&format!(
                    "pl_c_size(\"{port}\", {found}, (int64_t)pl_x_{name}, \"{name}\");"
                ));
            }
            Size::Of(name) => {
                bound.push(name.clone());
                let own = format!("pl_x_{name}");
                self.line(&format!("{own} = {found};"));
                self.line(&format!("if ((int64_t){own} != {found}) pl_fail(\"input `{port}`: %lld does not fit `{name}`\", (long long){found});"));
            }
        }
    }

    /// Room for what the function writes.
    fn output(&mut self, argument: &Argument) {
        let Role::OutArray(shape, sizes) = &argument.role else { return };
        let (port, own, dims) = (&argument.port, format!("pl_x_{}", argument.name), self.fresh());
        let list: Vec<String> = sizes.iter().map(size).collect();
        let (dtype, count) = (dtype(shape), sizes.len());
        self.line(&format!("int64_t {dims}[] = {{{}}};", list.join(", ")));
        self.line(&format!("void *{own} = pl_out_tensor(\"{port}\", {dtype}, {dims}, {count});"));
    }

    /// Reads a value into a place.
    fn read(&mut self, shape: &Shape, place: &str, value: &str) {
        match shape {
            Shape::Bool => self.line(&format!("{place} = pl_as_bool({value}) != 0;")),
            Shape::Int(int) => {
                let (least, most) = limits(*int);
                let kind = if int.signed { "" } else { "u" };
                self.line(&format!(
                    "{place} = pl_c_int({value}, {least}, {most}, \"{kind}int{}_t\");",
                    int.bits
                ));
            }
            Shape::Float(_) => self.line(&format!("{place} = pl_as_float({value});")),
            Shape::Str => self.line(&format!("{place} = pl_as_str({value});")),
            Shape::Bytes => self.line(&format!("{place} = pl_as_bytes({value});")),
            Shape::Text => self.line(&format!("{place} = pl_as_text({value});")),
            Shape::Value => self.line(&format!("{place} = {value};")),
            Shape::Chars(size) => {
                let text = self.fresh();
                self.line(&format!("const char *{text} = pl_as_str({value});"));
                self.line(&format!("if (strlen({text}) >= {size}) pl_fail(\"input `%s`: a text of %lu bytes, at most {} fit\", {value}.port, (unsigned long)strlen({text}));", size - 1));
                self.line(&format!("memcpy({place}, {text}, strlen({text}) + 1);"));
            }
            Shape::Enum(_, names) => {
                let text = self.fresh();
                self.line(&format!("const char *{text} = pl_as_str({value});"));
                for name in names {
                    self.line(&format!(
                        "if (strcmp({text}, \"{name}\") == 0) {place} = {name}; else"
                    ));
                }
                let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
                let more = if names.len() > 8 { ", …" } else { "" };
                self.line(&format!("pl_fail(\"input `%s`: expected one of {}{more}, found %s\", {value}.port, pl_describe({value}));", shown.join(", ")));
            }
            Shape::Record(_, fields) => {
                for (name, shape) in fields {
                    let field = self.fresh();
                    self.line(&format!("pl_value {field} = pl_field({value}, \"{name}\");"));
                    self.read(shape, &format!("{place}.{name}"), &field);
                }
            }
            Shape::Fixed(of, size) => {
                let (cursor, item, at) = (self.fresh(), self.fresh(), self.fresh());
                self.line(&format!("pl_c_list({value}); pl_c_size({value}.port, (int64_t)pl_count({value}), {size}, \"{size}\");"));
                self.line(&format!(
                    "pl_cursor {cursor} = pl_items({value}); pl_value {item}; size_t {at};"
                ));
                self.line(&format!("for ({at} = 0; pl_next(&{cursor}, NULL, &{item}); {at}++) {{"));
                self.read(of, &format!("{place}[{at}]"), &item);
                self.line("}");
            }
            Shape::Span(_) | Shape::Tensor => {}
        }
    }

    /// Writes an output.
    fn write(&mut self, port: &str, shape: &Shape, place: &str) {
        match shape {
            Shape::Span(element) => {
                let dtype = match *element {
                    "flags" => "PL_BOOL".to_owned(),
                    element => format!("PL_{}", element.to_ascii_uppercase()),
                };
                self.line(&format!("pl_c_put_tensor(\"{port}\", {dtype}, {place}.data, {place}.size, {place}.shape, {place}.ndim);"));
            }
            Shape::Tensor => {
                self.line(&format!("pl_c_put_tensor(\"{port}\", {place}.dtype, {place}.data, {place}.size, {place}.shape, {place}.ndim);"));
            }
            _ => {
                let writer = self.fresh();
                self.line(&format!("pl_writer *{writer} = pl_out_value(\"{port}\");"));
                self.put(shape, place, &writer);
            }
        }
    }

    fn put(&mut self, shape: &Shape, place: &str, to: &str) {
        match shape {
            Shape::Bool => self.line(&format!("pl_put_bool({to}, {place} != 0);")),
            Shape::Int(Int { signed: false, .. }) => {
                self.line(&format!("pl_c_put_unsigned({to}, {place});"));
            }
            Shape::Int(_) => self.line(&format!("pl_put_int({to}, {place});")),
            Shape::Float(_) => self.line(&format!("pl_put_float({to}, (double){place});")),
            Shape::Str => self.line(&format!("pl_c_put_str({to}, {place});")),
            Shape::Bytes => self.line(&format!("pl_put_bytes({to}, {place}.data, {place}.size);")),
            Shape::Text => self.line(&format!("pl_put_text({to}, {place}.data, {place}.size);")),
            Shape::Chars(size) => self.line(&format!(
                "pl_put_text({to}, {place}, memchr({place}, 0, {size}) ? strlen({place}) : {size});"
            )),
            Shape::Enum(_, names) => {
                for name in names {
                    self.line(&format!(
                        "if ({place} == {name}) pl_put_str({to}, \"{name}\"); else"
                    ));
                }
                self.line(&format!("pl_fail(\"output `%s`: %d is none of its constants\", {to}->port, (int){place});"));
            }
            Shape::Record(_, fields) => {
                self.line(&format!("pl_begin_map({to});"));
                for (name, shape) in fields {
                    self.line(&format!("pl_key({to}, \"{name}\");"));
                    self.put(shape, &format!("{place}.{name}"), to);
                }
                self.line(&format!("pl_end({to});"));
            }
            Shape::Fixed(of, size) => {
                let at = self.fresh();
                self.line(&format!("pl_begin_list({to}); size_t {at};"));
                self.line(&format!("for ({at} = 0; {at} < {size}; {at}++) {{"));
                self.put(of, &format!("{place}[{at}]"), to);
                self.line("}");
                self.line(&format!("pl_end({to});"));
            }
            Shape::Value | Shape::Span(_) | Shape::Tensor => {}
        }
    }
}

/// As constants of C.
fn limits(int: Int) -> (String, String) {
    let (least, most) = int.range();
    let text = |number: i64| match number {
        i64::MIN => "INT64_MIN".to_owned(),
        i64::MAX => "INT64_MAX".to_owned(),
        other => format!("INT64_C({other})"),
    };
    (text(least), text(most))
}
