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
    let lang = lang(args)?;
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
    let names = Names::new(&id, lang);
    let prefix = format!("{}/", names.lang);
    let own = polyloom_executors::templates().iter().filter_map(|file| {
        let path = file.path.strip_prefix(&prefix)?;
        Some((path, std::str::from_utf8(file.bytes).ok()?))
    });
    let common = COMMON.iter().map(|(path, text)| (*path, *text));
    for (path, text) in own.chain(common) {
        // What is brought along is nobody's to rename.
        let (path, text) = match path.starts_with("vendor/") {
            true => (path.to_owned(), text.to_owned()),
            false => (names.apply(path), names.apply(text)),
        };
        write(&folder.join(path), &text).map_err(failed)?;
    }
    if lang == PluginLang::JavaScript {
        write(&folder.join("package.json"), &names.apply(include_str!("new/package.json")))
            .map_err(failed)?;
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

/// What it is written in: asked for, or what its kind suggests.
fn lang(args: &NewArgs) -> Result<PluginLang, Failure> {
    let lang = match (args.lang, args.kind) {
        (Some(lang), _) => lang,
        (None, None | Some(PluginKind::Command)) => PluginLang::Command,
        (None, Some(PluginKind::Worker)) => PluginLang::Python,
        (None, Some(PluginKind::Native)) => PluginLang::C,
    };
    let kind = match lang {
        PluginLang::Command => PluginKind::Command,
        PluginLang::Python | PluginLang::Rust | PluginLang::JavaScript => PluginKind::Worker,
        PluginLang::C => PluginKind::Native,
    };
    if args.kind.is_some_and(|asked| asked != kind) {
        let message = "nothing is there to begin a plugin of that kind in that language with";
        return Err(Failure::new(Exit::Usage, message).hint(
            "valid: `command` for command; `worker` for python, rust, javascript; `native` for c",
        ));
    }
    Ok(lang)
}

/// The names of a plugin, in place of those of the example that it is made of.
struct Names<'a> {
    id: &'a str,
    lang: &'static str,
    replaced: Vec<(String, String)>,
}

impl<'a> Names<'a> {
    fn new(id: &'a ExecutorId, lang: PluginLang) -> Self {
        let id = id.as_str();
        let (lang, spoken) = match lang {
            PluginLang::Command => ("command", "by a script"),
            PluginLang::Python => ("python", "in Python"),
            PluginLang::Rust => ("rust", "in Rust"),
            PluginLang::JavaScript => ("javascript", "in JavaScript"),
            PluginLang::C => ("c", "in C"),
        };
        // A name of Rust, Python and a file's extension can have less in it than an id.
        let plain = id.replace(['-', '.'], "_");
        let crate_name = match plain.starts_with(|first: char| first.is_ascii_digit()) {
            true => format!("p{plain}"),
            false => plain.clone(),
        };
        let build = |before: &str, after: &str| match lang {
            "c" | "rust" => format!("{before}make -C {id}{after}"),
            _ => String::new(),
        };
        let replaced = [
            (format!("\"Say, {spoken}\""), format!("\"{id}\"")),
            ("name = \"say-rust\"".to_owned(), format!("name = \"{crate_name}\"")),
            ("release/say-rust".to_owned(), format!("release/{crate_name}")),
            (format!("say-{lang}"), id.to_owned()),
            ("extensions = [\"say\"]".to_owned(), format!("extensions = [\"{plain}\"]")),
            ("libsay.so".to_owned(), format!("lib{plain}.so")),
            ("say.c".to_owned(), format!("{plain}.c")),
            ("say.mjs".to_owned(), format!("{plain}.mjs")),
            ("say.py".to_owned(), format!("{plain}.py")),
            ("say.sh".to_owned(), format!("{plain}.sh")),
            ("-I../../../sdk/c".to_owned(), "-I.".to_owned()),
            ("../../../sdk/rust".to_owned(), "vendor/polyloom-sdk".to_owned()),
            ("$ @BUILD@\n".to_owned(), build("$ ", "\n")),
            ("      - run: \"@BUILD@\"\n".to_owned(), build("      - run: ", "\n")),
            ("@PLUGIN@".to_owned(), Self::plugin(id, lang)),
            ("@NAME@".to_owned(), id.to_owned()),
        ];
        Self { id, lang, replaced: replaced.to_vec() }
    }

    /// The folder of its manifest: that of a program in Rust holds nothing of the build.
    fn plugin(id: &str, lang: &str) -> String {
        match lang {
            "rust" => format!("{id}/plugin"),
            _ => id.to_owned(),
        }
    }

    fn apply(&self, text: &str) -> String {
        let replaced = self.replaced.iter();
        replaced.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// What to do next, and what for.
    fn next(&self) -> Vec<(String, &'static str)> {
        let Self { id, lang, .. } = self;
        let plugin = Self::plugin(id, lang);
        let mut next = Vec::new();
        if matches!(*lang, "c" | "rust") {
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
