//! What a cell's start is: its command line and its environment, as they come on the standard input of a program that waited. Plain data.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

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
        (argv.len() == count && count > 0)
            .then(|| Self { argv, env: texts.map(<[u8]>::to_vec).collect() })
    }

    /// What is to be run where a machine was started with the words `begun`; nothing where `java` itself has to.
    pub fn start(&self, begun: &[OsString]) -> Option<Start> {
        let rest = self.argv.strip_prefix(begun)?;
        let (file, args) = rest.split_first()?;
        // The file has one word, which `java` would take for the name of a class if nothing in it means something else.
        let file = std::fs::read(file.as_bytes().strip_prefix(b"@").map(as_path)?).ok()?;
        let class = file.trim_ascii().to_vec();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$');
        let named = class.first().is_some_and(|byte| !byte.is_ascii_digit() && *byte != b'.');
        let args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        (named && class.iter().all(plain)).then_some(Start { class, args })
    }
}

fn as_path(bytes: &[u8]) -> &std::path::Path {
    std::path::Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_whole_or_none() {
        let cell = Cell::parse(b"2\0java\0\0A=b\0C=\0").expect("it is whole");
        assert_eq!(cell.argv, ["java", ""]);
        assert_eq!(cell.env, [b"A=b".to_vec(), b"C=".to_vec()]);
        for bytes in [&b""[..], b"\0", b"0\0", b"2\0java\0", b"x\0java\0", b"1\0java"] {
            assert_eq!(Cell::parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_class_is_left_to_java() {
        let folder = std::env::temp_dir().join(format!("polyloom-java-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let begun = ["/java", "-cp", "/classes"].map(OsString::from);
        let start = |class: &str| {
            let file = folder.join("main");
            std::fs::write(&file, class).expect("a file");
            let mut argv = begun.to_vec();
            argv.extend([format!("@{}", file.display()).into(), "a b".into()]);
            Cell { argv, env: Vec::new() }.start(&begun)
        };
        let plain = start("a.Case$B\n").expect("it can be run");
        assert_eq!((plain.class, plain.args), (b"a.Case$B".to_vec(), vec![b"a b".to_vec()]));
        for class in ["", "-version", "a b", "../x", "\"a\"", "@x", "1a", ".a"] {
            assert_eq!(start(class), None, "{class}");
        }
        assert!(Cell { argv: vec!["/java".into()], env: vec![] }.start(&begun).is_none());
        std::fs::remove_dir_all(&folder).expect("it goes");
    }
}
