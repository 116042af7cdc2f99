//! `polyloom plugin new`: a folder with a plugin that works, to be made into one's own.
//!
//! The sources are those of `examples/plugins/say-…`, under another name. Nothing is run and nothing is overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use polyloom_model::ExecutorId;
use polyloom_report::Style;

use crate::args::{NewArgs, PluginKind, PluginLang};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// What is the same for all: README, a flow to try it with, continuous integration, what is no source.
const COMMON: [(&str, &str); 4] = [
    ("README.md", include_str!("new/README.md")),
    ("try/polyloom.toml", include_str!("new/try.toml")),
    (".github/workflows/test.yml", include_str!("new/workflow.yml")),
    (".gitignore", "*.so\n.polyloom/\n__pycache__/\nnode_modules/\ntarget/\n"),
];

/// The command.
pub fn new(world: &World, args: &NewArgs) -> Outcome {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let template = Template::of(args)?;
    let id = ExecutorId::declared(&args.name).map_err(|error| usage(format!("{error}")))?;
    if let Some(other) = world.languages.find(id.as_str()).filter(|other| other.path.is_none()) {
        let message = format!("`{id}` is the bundled executor `{}`", other.id);
        return Err(usage(message).hint("another name: nothing can take one that is bundled"));
    }
    let folder = PathBuf::from(id.as_str());
    let failed = |error: io::Error| {
        Failure::new(
            Exit::Environment,
            format!("can't write below `{}`: {error}", folder.display()),
        )
    };
    if let Err(error) = fs::create_dir(&folder) {
        return Err(match error.kind() {
            io::ErrorKind::AlreadyExists => usage(format!("`{id}` is here already"))
                .hint("another name, or another folder: nothing is overwritten"),
            _ => failed(error),
        });
    }
    let names = Names::new(&id, template);
    let prefix = format!("{}/", template.name);
    let own = polyloom_executors::templates().iter().filter_map(|file| {
        let path = file.path.strip_prefix(&prefix)?;
        Some((path, std::str::from_utf8(file.bytes).ok()?))
    });
    let common = COMMON.iter().chain(template.packaging);
    for (path, text) in own.chain(common.copied()) {
        // What is brought along is nobody's to rename.
        let (path, text) = match path.starts_with("vendor/") {
            true => (path.to_owned(), text.to_owned()),
            false => (names.apply(path), names.apply(text)),
        };
        write(&folder.join(path), &text).map_err(failed)?;
    }
    let paint = world.screen.err;
    let mut text = format!("{} is in ./{id}; next:\n", paint.text(Style::Strong, id.as_str()));
    let next = names.next();
    let width = next.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    for (command, what) in next {
        text.push_str(&format!("  {command:<width$}  {}\n", paint.text(Style::Dim, what)));
    }
    world.screen.note(&text);
    Ok(Exit::Ok)
}

/// What a plugin can be begun with.
struct Template {
    /// The example that it is made of is `say-NAME`.
    name: &'static str,
    /// As the example's title says it.
    spoken: &'static str,
    lang: PluginLang,
    kind: PluginKind,
    /// `make` builds it.
    is_built: bool,
    /// The folder of its manifest.
    below: &'static str,
    /// What the language's own packages need.
    packaging: &'static [(&'static str, &'static str)],
}

const PYPROJECT: (&str, &str) = ("pyproject.toml", include_str!("new/pyproject.toml"));
const PACKAGE: (&str, &str) = ("package.json", include_str!("new/package.json"));

#[rustfmt::skip]
const TEMPLATES: [Template; 6] = [
    Template { name: "command", spoken: "by a script", lang: PluginLang::Command, kind: PluginKind::Command, is_built: false, below: "", packaging: &[] },
    Template { name: "python", spoken: "in Python", lang: PluginLang::Python, kind: PluginKind::Worker, is_built: false, below: "", packaging: &[PYPROJECT] },
    Template { name: "c", spoken: "in C", lang: PluginLang::C, kind: PluginKind::Native, is_built: true, below: "", packaging: &[] },
    // Nothing of the build is a part of the plugin.
    Template { name: "rust", spoken: "in Rust", lang: PluginLang::Rust, kind: PluginKind::Worker, is_built: true, below: "/plugin", packaging: &[] },
    Template { name: "javascript", spoken: "in JavaScript", lang: PluginLang::JavaScript, kind: PluginKind::Worker, is_built: false, below: "", packaging: &[PACKAGE] },
    Template { name: "wasm", spoken: "in WebAssembly", lang: PluginLang::Rust, kind: PluginKind::Wasm, is_built: true, below: "", packaging: &[] },
];

impl Template {
    /// The first one that is what was asked for.
    fn of(args: &NewArgs) -> Result<&'static Self, Failure> {
        let fits = |it: &&Self| {
            args.lang.is_none_or(|lang| lang == it.lang)
                && args.kind.is_none_or(|kind| kind == it.kind)
        };
        TEMPLATES.iter().find(fits).ok_or_else(|| {
            let message = "no plugin of that kind can be begun in that language";
            Failure::new(Exit::Usage, message).hint(
                "valid: command for `command`; python, rust, javascript for `worker`; c for `native`; rust for `wasm`",
            )
        })
    }
}

/// The names of a plugin, in place of those of the example that it is made of.
struct Names<'a> {
    id: &'a str,
    template: &'static Template,
    replaced: Vec<(String, String)>,
}

impl<'a> Names<'a> {
    fn new(id: &'a ExecutorId, template: &'static Template) -> Self {
        let id = id.as_str();
        let Template { name, spoken, is_built, .. } = template;
        // A name of Rust, Python and a file's extension can have less in it than an id.
        let plain = id.replace(['-', '.'], "_");
        let crate_name = match plain.starts_with(|first: char| first.is_ascii_digit()) {
            true => format!("p{plain}"),
            false => plain.clone(),
        };
        let build = |before: &str, after: &str| match is_built {
            true => format!("{before}make -C {id}{after}"),
            false => String::new(),
        };
        let replaced = [
            (format!("\"Say, {spoken}\""), format!("\"{id}\"")),
            ("name = \"say-rust\"".to_owned(), format!("name = \"{crate_name}\"")),
            ("release/say-rust".to_owned(), format!("release/{crate_name}")),
            (format!("say-{name}"), id.to_owned()),
            ("extensions = [\"say\"]".to_owned(), format!("extensions = [\"{plain}\"]")),
            ("libsay.so".to_owned(), format!("lib{plain}.so")),
            ("say.wasm".to_owned(), format!("{plain}.wasm")),
            ("say.rs".to_owned(), format!("{plain}.rs")),
            ("say.c".to_owned(), format!("{plain}.c")),
            ("say.mjs".to_owned(), format!("{plain}.mjs")),
            ("say.py".to_owned(), format!("{plain}.py")),
            ("say.sh".to_owned(), format!("{plain}.sh")),
            ("-I../../../sdk/c".to_owned(), "-I.".to_owned()),
            ("../../../sdk/rust".to_owned(), "vendor/polyloom-sdk".to_owned()),
            ("$ @BUILD@\n".to_owned(), build("$ ", "\n")),
            ("      - run: \"@BUILD@\"\n".to_owned(), build("      - run: ", "\n")),
            ("@PLUGIN@".to_owned(), format!("{id}{}", template.below)),
            ("@MODULE@".to_owned(), plain.clone()),
            ("@NAME@".to_owned(), id.to_owned()),
        ];
        Self { id, template, replaced: replaced.to_vec() }
    }

    fn apply(&self, text: &str) -> String {
        let replaced = self.replaced.iter();
        replaced.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// What to do next, and what for.
    fn next(&self) -> Vec<(String, &'static str)> {
        let Self { id, template, .. } = self;
        let plugin = format!("{id}{}", template.below);
        let mut next = Vec::new();
        if template.is_built {
            next.push((format!("make -C {id}"), "build it"));
        }
        next.extend([
            (format!("polyloom plugin test {plugin}"), "whether it keeps the contract"),
            (format!("polyloom run {id}/try --executor-dir {plugin}"), "run a cell"),
            (format!("polyloom plugin install {plugin}"), "have it everywhere"),
        ]);
        next
    }
}

/// Writes a file that is not there, with its folders.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o644);
    let mut file: File = options.open(path)?;
    file.write_all(text.as_bytes())
}
