//! Taking results out without following anything.

use std::{
    fs,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::PathBuf,
};

use polyloom_sandbox::{Collector, File, HOT_FROM, Kind, Limits, ListingCaps, Refusal, Stdin};

use crate::{
    Case,
    support::{LONG, Lab, is_root, shell},
};

pub const CASES: &[Case] = &[
    ("results_are_readable_after_the_end", results),
    ("links_and_other_kinds_are_refused", kinds),
    ("names_that_are_not_plain_text_are_refused", names),
    ("deep_and_wide_trees_are_cut", caps),
    ("unreadable_results_are_read_anyway", unreadable),
    ("climbing_paths_are_refused", climbing),
    ("fifos_and_devices_are_never_opened", nodes),
    ("a_file_is_given_anew_to_who_waits_for_it", rewritten),
    ("what_a_cell_can_change_is_not_given_anew", misled),
    ("what_is_kept_in_memory_has_its_bytes_there", kept),
];

fn read(fd: OwnedFd) -> String {
    let mut text = String::new();
    fs::File::from(fd).read_to_string(&mut text).unwrap();
    text
}

fn results(lab: &Lab) {
    let done = lab.shell("echo hello > /cell/out/a.txt; mkdir /cell/out/d; echo deep > /cell/out/d/b; chmod 4755 /cell/out/a.txt");
    let collector = done.sandbox.collect().unwrap();
    let listing = collector.list("out", ListingCaps::default()).unwrap();
    let paths: Vec<_> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["a.txt", "d", "d/b"]);
    assert!(matches!(listing.entries[0].kind, Kind::File { size: 6, .. }));
    assert!(listing.refused.is_empty());
    assert_eq!(read(collector.open_file("out/a.txt").unwrap()), "hello\n");
    assert_eq!(read(collector.open_file("out/d/b").unwrap()), "deep\n");
}

fn kinds(lab: &Lab) {
    let done = lab.shell(
        "cd /cell/out; ln -s /etc/passwd link; ln -s / dir; ln -s /proc/self/root/etc/shadow magic
         echo x > one; ln one two; mkdir real",
    );
    let collector = done.sandbox.collect().unwrap();
    let listing = collector.list("out", ListingCaps::default()).unwrap();
    let kind = |path: &str| listing.entries.iter().find(|entry| entry.path == path).unwrap().kind;
    assert_eq!(
        (kind("link"), kind("dir"), kind("real")),
        (Kind::Symlink, Kind::Symlink, Kind::Directory)
    );
    let refusal = |path: &str| collector.open_file(path).unwrap_err();
    assert_eq!(refusal("out/link"), Refusal::Symlink);
    assert_eq!(refusal("out/magic"), Refusal::Symlink);
    assert_eq!(refusal("out/dir/etc/passwd"), Refusal::Symlink);
    assert_eq!(refusal("out/one"), Refusal::HardLink(2));
    assert_eq!(refusal("out/real"), Refusal::NotRegular);
    assert_eq!(refusal("out/none"), Refusal::Missing);
}

fn names(lab: &Lab) {
    let done = lab.shell(
        "cd /cell/out; : > \"$(printf 'a\\033[2Jb')\"; : > \"$(printf 'x\\377y')\"; : > fine",
    );
    let listing = done.sandbox.collect().unwrap().list("out", ListingCaps::default()).unwrap();
    assert_eq!(listing.entries.len(), 1);
    let mut refused: Vec<_> = listing
        .refused
        .iter()
        .map(|refused| (refused.path.as_str(), refused.refusal.clone()))
        .collect();
    refused.sort_by_key(|(path, _)| path.to_string());
    assert_eq!(
        refused,
        [("a\\x1b[2Jb", Refusal::ControlCharacters), ("x\\xffy", Refusal::NotUtf8)]
    );
}

fn caps(lab: &Lab) {
    let done = lab.shell(
        "cd /cell/out; i=0; while [ $i -lt 30 ]; do mkdir d; cd d; i=$((i+1)); done
         cd /cell/work; i=0; while [ $i -lt 50 ]; do : > $i; i=$((i+1)); done",
    );
    let collector = done.sandbox.collect().unwrap();
    let listing = collector.list("out", ListingCaps::default()).unwrap();
    assert_eq!(listing.entries.len(), 16);
    assert_eq!(listing.refused[0].refusal, Refusal::TooDeep);
    let listing = collector.list("work", ListingCaps { entries: 20, depth: 1 }).unwrap();
    assert_eq!(listing.entries.len(), 20);
    assert_eq!(listing.refused[0].refusal, Refusal::TooMany);
}

fn unreadable(lab: &Lab) {
    let done =
        lab.run(&shell("cd /cell/out; mkdir d; echo x > d/f; chmod 0 d/f"), Limits::default());
    let collector = done.sandbox.collect().unwrap();
    assert_eq!(read(collector.open_file("out/d/f").unwrap()), "x\n");
}

fn climbing(lab: &Lab) {
    let done = lab.shell("true");
    let collector = done.sandbox.collect().unwrap();
    for path in ["../etc/passwd", "/etc/passwd", "out/../../x", "", "."] {
        assert_eq!(collector.open_file(path).unwrap_err(), Refusal::BadPath, "{path}");
    }
}

/// A cell cannot make these, so they are made here.
fn nodes(_: &Lab) {
    let place: PathBuf =
        std::env::temp_dir().join(format!("polyloom-nodes-{}", std::process::id()));
    fs::create_dir_all(place.join("out")).unwrap();
    let make = |name: &str, mode: u32, device: u64| {
        let path = std::ffi::CString::new(place.join("out").join(name).to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated.
        assert_eq!(unsafe { libc::mknod(path.as_ptr(), mode, device) }, 0);
    };
    make("fifo", libc::S_IFIFO | 0o666, 0);
    if is_root() {
        make("device", libc::S_IFCHR | 0o666, libc::makedev(1, 5));
    }
    let _socket = std::os::unix::net::UnixListener::bind(place.join("out/socket")).unwrap();
    let collector = Collector::new(fs::File::open(&place).unwrap().into());
    let listing = collector.list("out", ListingCaps::default()).unwrap();
    for entry in &listing.entries {
        assert_eq!(entry.kind, Kind::Other);
        assert_eq!(
            collector.open_file(&format!("out/{}", entry.path)).unwrap_err(),
            Refusal::NotRegular
        );
    }
    assert_eq!(listing.entries.len(), if is_root() { 3 } else { 2 });
    fs::remove_dir_all(&place).unwrap();
}

/// A cell that does something and waits for a line before it goes on.
fn waiting(lab: &Lab, first: &str, then: &str) -> (polyloom_sandbox::Sandbox, std::io::PipeWriter) {
    let (theirs, ours) = std::io::pipe().unwrap();
    let mut spec = shell(&format!("{first}; echo ready; read go; {then}"));
    spec.stdin = Stdin::Fd(theirs.into());
    for path in ["/cell/in/data", "/cell/work/mine"] {
        spec.files.push(File { path: path.into(), bytes: vec![0; 5], mode: 0o644 });
    }
    let mut sandbox = lab.start(&spec, Limits::default());
    let mut out = fs::File::from(sandbox.take_stdout().unwrap());
    let mut said = String::new();
    while !said.contains("ready") {
        assert_eq!(sandbox.wait(std::time::Duration::from_millis(5)), None);
        let _ = out.read_to_string(&mut said);
    }
    (sandbox, ours)
}

fn rewritten(lab: &Lab) {
    let then = "cp /cell/in/data /cell/out/data; echo no > /cell/in/data; echo $? > /cell/out/code";
    let (mut sandbox, mut go) = waiting(lab, ":", then);
    let before = sandbox.usage().disk;
    let text = "word ".repeat(10_000);
    sandbox.rewrite("/cell/in/data".as_ref(), text.as_bytes()).unwrap();
    // What the host gives is not the cell's use.
    assert_eq!(sandbox.usage().disk, before);
    go.write_all(b"go\n").unwrap();
    sandbox.wait(LONG).unwrap();
    sandbox.finish();
    let collector = sandbox.collect().unwrap();
    assert_eq!(read(collector.open_file("out/data").unwrap()), text);
    assert_ne!(read(collector.open_file("out/code").unwrap()).trim(), "0");
}

fn misled(lab: &Lab) {
    let victim = std::env::temp_dir().join(format!("polyloom-victim-{}", std::process::id()));
    fs::write(&victim, "mine").unwrap();
    let first = format!(
        "cd /cell/work; rm -f mine; ln -s {} mine; cp /cell/in/data away; ln -s ../work/away link",
        victim.display()
    );
    let (mut sandbox, _go) = waiting(lab, &first, ":");
    for path in
        ["/cell/work/mine", "/cell/work/link", "/cell/../etc/passwd", "/etc/passwd", "/cell/work"]
    {
        assert!(sandbox.rewrite(path.as_ref(), b"theirs").is_err(), "{path}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    fs::remove_file(&victim).unwrap();
    sandbox.kill();
}

fn kept(lab: &Lab) {
    let size = HOT_FROM + (1 << 20) + 17;
    let write = format!("yes 0123456 | head -c {size} > /cell/out/large; : > /cell/out/none");
    let limits = Limits { memory: 64 << 20, disk: 32 << 20, ..Limits::default() };
    let done = lab.run(&shell(&write), limits);
    let collector = done.sandbox.collect().unwrap();
    let file = collector.open_file("out/large").unwrap();
    let Some(hot) = collector.keep(&file) else {
        println!("       nothing stays in memory here");
        return;
    };
    assert!(hot.held() >= size);
    let bytes = hot.bytes().unwrap();
    assert_eq!(bytes.len() as u64, size);
    assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == b"0123456\n"[at % 8]));
    drop(bytes);
    let none = collector.open_file("out/none").unwrap();
    assert!(collector.keep(&none).unwrap().bytes().is_err(), "nothing can't be mapped");
}
