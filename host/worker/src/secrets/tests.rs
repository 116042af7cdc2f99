//! Handles against a real file system and real programs.

use std::time::Instant;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    stop: watch::Sender<Stop>,
    pins: BTreeMap<String, Vec<Pin>>,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            stop: watch::channel(Stop::No).0,
            pins: BTreeMap::new(),
        }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn all(&self, handles: &[(&str, &str)], patience: Duration) -> Result<Secrets, SecretError> {
        let handles = handles.iter();
        let handles = handles.map(|(name, text)| ((*name).to_owned(), text.parse().unwrap()));
        let variable = |name: &str| (name == "SET").then(|| OsString::from("the-value"));
        let host = Host {
            root: self.folder.path(),
            home: Some(self.folder.path()),
            variable: &variable,
            pins: &self.pins,
            patience,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(read(&handles.collect(), &host, &self.stop.subscribe()))
    }

    fn read(&self, handle: &str) -> Result<String, String> {
        let secrets = self.all(&[("S", handle)], PATIENCE).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(secrets.by_name[0].1.0.clone()).unwrap())
    }

    fn refused(&self, handle: &str) -> String {
        let error = self.read(handle).unwrap_err();
        error.replace(self.folder.path().to_str().unwrap(), "[folder]")
    }
}

#[test]
fn each_kind_of_handle_gives_its_secret_without_the_last_line_break() {
    let place = Place::new();
    place.write("key", "file secret\n\n");
    place.write("windows", "crlf secret\r\n");
    assert_eq!(place.read("env:SET"), Ok("the-value".into()));
    assert_eq!(place.read("file:key"), Ok("file secret\n".into()));
    assert_eq!(place.read("file:~/windows"), Ok("crlf secret".into()));
    assert_eq!(place.read("cmd:cat key"), Ok("file secret\n".into()));
    assert_eq!(place.read("cmd:printf '%s\\n' 'a b' '$HOME'"), Ok("a b\n$HOME".into()));
    let whole = place.folder.path().join("key");
    assert_eq!(place.read(&format!("file:{}", whole.display())), Ok("file secret\n".into()));
}

#[test]
fn what_can_not_be_had_says_why() {
    let place = Place::new();
    place.write("empty", "\n");
    place.write("short", "abc");
    place.write("nul", "abc\0def");
    place.write("long", vec![b'x'; LONGEST + 1]);
    place.write("most", vec![b'x'; LONGEST]);
    place.write("line", [vec![b'x'; LONGEST], vec![b'\n']].concat());
    nix::unistd::mkfifo(&place.folder.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (handle, why) in [
        ("env:UNSET", "the environment variable `UNSET` is not set where polyloom runs"),
        (
            "file:nothing",
            "`[folder]/nothing` can't be read: No such file or directory (os error 2)",
        ),
        ("file:fifo", "`[folder]/fifo` is not a regular file"),
        ("file:/dev/null", "`/dev/null` is not a regular file"),
        ("file:.", "`[folder]/.` is not a regular file"),
        ("file:empty", "it is empty"),
        ("file:short", "it is shorter than 4 bytes, which can't be hidden in what a cell prints"),
        ("file:nul", "it has a NUL byte, which no environment variable can hold"),
        ("file:long", "it is larger than 64 KiB"),
        ("cmd:cat long", "it is larger than 64 KiB"),
        ("cmd:yes", "it is larger than 64 KiB"),
        ("cmd:true", "it is empty"),
        (
            "cmd:no-such-program-here",
            "`no-such-program-here` could not be started: No such file or directory (os error 2)",
        ),
        (
            "cmd:sh -c 'echo first >&2; echo no entry >&2; exit 3'",
            "`sh` gave none (exit code 3): no entry",
        ),
        ("cmd:sh -c 'kill -9 $$'", "`sh` gave none (ended by SIGKILL): no message"),
        (
            "cmd:sh -c 'echo s3cr3t; echo got s3cr3t >&2; exit 1'",
            "`sh` gave none (exit code 1): got ***",
        ),
    ] {
        assert_eq!(place.refused(handle), format!("secret `S`: {why}"), "{handle}");
    }
    assert_eq!(place.read("file:most").map(|it| it.len()), Ok(LONGEST));
    assert_eq!(place.read("file:line").map(|it| it.len()), Ok(LONGEST));
    assert_eq!(place.read("cmd:cat line").map(|it| it.len()), Ok(LONGEST));
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let place = Place::new();
    let handle = "cmd:sh -c 'sleep 600 & echo $! > child; echo $$ > own; wait'";
    let began = Instant::now();
    let error = place.all(&[("S", handle)], Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error.why, Why::Slow(..)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
    for name in ["child", "own"] {
        let pid = std::fs::read_to_string(place.folder.path().join(name)).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        // It may still be there for a moment, dead and not reaped by whoever adopts it.
        let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while lives() {
            assert!(began.elapsed() < Duration::from_secs(20), "{name} {pid} lives");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_child_that_keeps_the_pipe_is_not_waited_for() {
    let place = Place::new();
    let began = Instant::now();
    assert_eq!(place.read("cmd:sh -c 'sleep 60 & echo told'"), Ok("told".into()));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_stopped_run_does_not_wait_for_a_program() {
    let place = Place::new();
    place.stop.send_replace(Stop::Gracefully);
    let error = place.all(&[("S", "cmd:sleep 60")], PATIENCE).unwrap_err();
    assert!(matches!(error.why, Why::Stopped), "{error}");
}

#[test]
fn secrets_together_have_a_bound_and_do_not_show() {
    let place = Place::new();
    place.write("most", vec![b'x'; LONGEST]);
    let handles = [("A", "file:most"), ("B", "file:most"), ("C", "env:SET")];
    let error = place.all(&handles, PATIENCE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "secret `C`: with the secrets before it, it is larger than 128 KiB"
    );
    let secrets = place.all(&[("A", "env:SET")], PATIENCE).unwrap();
    assert!(!format!("{secrets:?}").contains("the-value"));
    let failing = "cmd:sh -c 'echo no the-value >&2; exit 1'";
    let error = place.all(&[("A", "env:SET"), ("B", failing)], PATIENCE).unwrap_err();
    assert_eq!(error.to_string(), "secret `B`: `sh` gave none (exit code 1): no ***");
}

#[test]
fn what_was_replaced_since_it_was_pinned_is_not_used() {
    let swapped = |handle: &str, change: &dyn Fn(&std::path::Path)| {
        let mut place = Place::new();
        place.write("key", "the granted one");
        place.write("other", "another one");
        let root = place.folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("key", root.join("link")).unwrap();
        let path = [PathBuf::from("/usr/bin"), PathBuf::from("/bin")];
        let pinned = pin(&handle.parse().unwrap(), &root, None, &path).unwrap();
        place.pins.insert("S".to_owned(), pinned.pins);
        let before = place.read(&pinned.handle.to_string());
        assert_eq!(before, Ok("the granted one".into()), "{handle}");
        change(&root);
        let why = place.refused(&pinned.handle.to_string());
        (why, pinned.ways.contains(&root.join("link")))
    };
    let rename = |root: &Path| std::fs::rename(root.join("other"), root.join("key")).unwrap();
    let relink = |root: &Path| {
        std::fs::remove_file(root.join("link")).unwrap();
        std::os::unix::fs::symlink("other", root.join("link")).unwrap();
    };
    let replaced = "secret `S`: `[folder]/key` was replaced since it was granted; run it again";
    assert_eq!(swapped("file:key", &rename), (replaced.to_owned(), false));
    assert_eq!(swapped("cmd:cat key", &rename), (replaced.to_owned(), false));
    // Each link on the way to an argument decides, too.
    assert_eq!(swapped("cmd:cat link", &relink), (replaced.to_owned(), true));
}
