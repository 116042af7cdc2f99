//! What a cell's start is: its command line and its environment, as a process has them or as they come on the standard input of one that waited.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What is before the words of a command line: this program, `__executor` and `java`.
const OWN: usize = 3;

/// A cell as it was told.
#[derive(Debug, PartialEq, Eq)]
pub struct Cell {
    /// The whole command line that its program would have been started with.
    pub argv: Vec<OsString>,
    /// Its whole environment: `NAME=value`.
    pub env: Vec<Vec<u8>>,
}

/// What the machine is to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// The class.
    pub class: Vec<u8>,
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
}

impl Cell {
    /// A number of arguments in decimal, these, and then variables, each with a zero byte behind it. Nothing where nothing came, or not all of it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut texts = bytes.strip_suffix(b"\0")?.split(|byte| *byte == 0);
        let count = std::str::from_utf8(texts.next()?).ok()?.parse::<usize>().ok()?;
        let argv: Vec<_> =
            texts.by_ref().take(count).map(|text| OsString::from_vec(text.to_vec())).collect();
        (argv.len() == count && count > OWN)
            .then(|| Self { argv, env: texts.map(<[u8]>::to_vec).collect() })
    }

    /// The cell that this process was started for.
    pub fn own() -> Self {
        let variables = std::env::vars_os();
        let pair = |(name, value): (OsString, OsString)| {
            [name.as_bytes(), b"=", value.as_bytes()].concat()
        };
        Self { argv: std::env::args_os().collect(), env: variables.map(pair).collect() }
    }

    /// The command line of the program `java`.
    pub fn words(&self) -> &[OsString] {
        self.argv.get(OWN..).unwrap_or_default()
    }

    /// What is to be run where a machine was started with the words `begun`; nothing where `java` itself has to.
    pub fn start(&self, begun: &Begun) -> Option<Start> {
        let args = self.words().strip_prefix(begun.words.as_slice())?;
        // The file has one word, which `java` would take for the name of a class if nothing in it means something else.
        let class = std::fs::read(&begun.file).ok()?.trim_ascii().to_vec();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$');
        let named = class.first().is_some_and(|byte| !byte.is_ascii_digit() && *byte != b'.');
        let args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        (named && class.iter().all(plain)).then_some(Start { class, args })
    }
}

/// What is known before there is a cell.
#[derive(Debug)]
pub struct Begun {
    /// `JAVA OPTION… -cp CLASSES @FILE`.
    words: Vec<OsString>,
    /// Where the classes are.
    pub classes: CString,
    /// For the machine.
    pub options: Vec<CString>,
    /// It names the class.
    file: PathBuf,
}

impl Begun {
    /// What the words of a cell have before its arguments.
    pub fn of(words: &[OsString]) -> Option<Self> {
        const FLAG: &str = "-cp";
        let at = words.iter().position(|word| word == FLAG)?;
        let words = words.get(..at + 3)?;
        let [java, options @ .., _, classes, file] = words else { return None };
        let text = |word: &OsString| CString::new(word.as_bytes()).ok();
        Path::new(java).is_absolute().then_some(())?;
        Some(Self {
            words: words.to_vec(),
            classes: text(classes)?,
            options: options.iter().map(text).collect::<Option<_>>()?,
            file: Path::new(OsStr::from_bytes(file.as_bytes().strip_prefix(b"@")?)).to_owned(),
        })
    }

    /// A path where nothing can ever be: below a file.
    pub fn nowhere(&self) -> Option<CString> {
        CString::new(self.file.join("none").into_os_string().into_vec()).ok()
    }

    /// The library beside the program `java`.
    pub fn library(&self) -> Option<PathBuf> {
        let program = std::fs::canonicalize(&self.words[0]).ok()?;
        let home = program.parent()?.parent()?;
        let places = ["lib/server/libjvm.so", "jre/lib/server/libjvm.so"];
        places.iter().map(|place| home.join(place)).find(|path| path.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_whole_or_none() {
        let cell = Cell::parse(b"5\0polyloom\0__executor\0java\0/java\0\0A=b\0C=\0");
        let cell = cell.expect("it is whole");
        assert_eq!(cell.words(), ["/java", ""]);
        assert_eq!(cell.env, [b"A=b".to_vec(), b"C=".to_vec()]);
        for bytes in [&b""[..], b"\0", b"0\0", b"3\0a\0b\0c\0", b"4\0a\0b\0c\0", b"x\0a\0", b"1\0a"]
        {
            assert_eq!(Cell::parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_class_is_left_to_java() {
        let folder = std::env::temp_dir().join(format!("polyloom-java-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("main");
        let argv = ["polyloom", "__executor", "java", "/java", "-X", "-cp", "/classes"];
        let mut argv = argv.map(OsString::from).to_vec();
        argv.extend([format!("@{}", file.display()).into(), "-cp".into(), "a b".into()]);
        let cell = Cell { argv, env: Vec::new() };
        let begun = Begun::of(cell.words()).expect("it is whole");
        assert_eq!((begun.options.len(), begun.classes.as_bytes()), (1, &b"/classes"[..]));
        let start = |class: &str| {
            std::fs::write(&file, class).expect("a file");
            cell.start(&begun)
        };
        let plain = start("a.Case$B\n").expect("it can be run");
        assert_eq!(plain.class, b"a.Case$B".to_vec());
        assert_eq!(plain.args, vec![b"-cp".to_vec(), b"a b".to_vec()]);
        for class in ["", "-version", "a b", "../x", "\"a\"", "@x", "1a", ".a"] {
            assert_eq!(start(class), None, "{class}");
        }
        let other = Cell { argv: vec!["/java".into(); 8], env: vec![] };
        assert!(other.start(&begun).is_none());
        std::fs::remove_dir_all(&folder).expect("it goes");
    }
}
