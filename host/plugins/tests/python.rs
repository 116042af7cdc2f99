//! What Python packages offer: entry points of every kind, broken and hostile ones.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use polyloom_load::Problem;
use polyloom_model::{Kind, Tool};
use polyloom_plugins::{
    Installed, Offer, OfferPlace, Source, functions, installed, offered_digest, packaged, settle,
};

const OLD: &str = "def _exec(code, g):\n    return True, code\n";

/// Virtual environments as far as they are looked at; there is no Python in them.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.environment("env");
        place
    }

    fn environment(&self, name: &str) {
        self.write(&format!("{name}/pyvenv.cfg"), "home = /usr/bin\n");
        self.write(&format!("{name}/bin/python"), "");
        fs::create_dir_all(self.at(&format!("{name}/lib/python3.11/site-packages"))).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn site(&self, name: &str) -> PathBuf {
        self.at("env/lib/python3.11/site-packages").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A package in the first environment.
    fn package(&self, name: &str, entries: &str, files: &[(&str, &str)]) {
        let site = "env/lib/python3.11/site-packages";
        self.write(&format!("{site}/{name}-1.2.dist-info/entry_points.txt"), entries);
        for (path, text) in files {
            self.write(&format!("{site}/{path}"), text);
        }
    }

    fn offers(&self) -> (Vec<Offer>, Vec<Problem>) {
        packaged(&[self.at("env/bin/python")], &tool())
    }

    /// What is told, when nothing else is offered than the package that is well.
    fn told(&self) -> String {
        self.package("well", "[polyloom.executors]\nwell = well:x\n", &[("well/__init__.py", "")]);
        let (offers, problems) = self.offers();
        let ids: Vec<&str> = offers.iter().map(|offer| offer.manifest.id.as_str()).collect();
        assert_eq!(ids, ["well"]);
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }
}

fn tool() -> Tool {
    Tool {
        at: Vec::new(),
        any: vec!["python3".to_owned()],
        env: Some("VIRTUAL_ENV".to_owned()),
        version: vec!["-c".to_owned(), "print(\"\"\"\\ \"\"\")\n".to_owned()],
        flags: BTreeMap::new(),
        install: Some("apt install python3".to_owned()),
    }
}

fn argv(offer: &Offer) -> Vec<String> {
    match &offer.manifest.kind {
        Kind::Worker(worker) => worker.argv.clone(),
        Kind::Command(_) => panic!("a command"),
    }
}

#[test]
fn an_object_has_a_manifest_made_for_it_and_its_package_is_copied() {
    let place = Place::new();
    let entries = "[polyloom.executors]\nshout = pack.lang:Shout\n";
    place.package(
        "my_pack",
        entries,
        &[("pack/lang.py", "x"), ("pack/data/a.txt", "a"), ("other/b.py", "b")],
    );
    let (offers, problems) = place.offers();
    assert!(problems.is_empty(), "{problems:?}");
    let [offer] = offers.as_slice() else { panic!("{offers:?}") };
    assert_eq!((offer.manifest.version.as_str(), offer.place), ("1.2", OfferPlace::Python));
    let python = &offer.manifest.tools["python"];
    assert_eq!(python.any, [place.at("env/bin/python").display().to_string()]);
    assert_eq!(python.version, tool().version, "asked as any Python is");
    assert_eq!(argv(offer).last().unwrap(), "pack.lang:Shout");
    assert!(offer.source().to_string().starts_with("my-pack 1.2 in "));

    let mut plugins = Installed::open(&place.at("plugins")).unwrap();
    let staged = plugins.stage_offer(offer).unwrap();
    let digest = staged.copied.digest;
    assert_eq!(digest, offered_digest(offer).unwrap());
    let plugin = plugins.install(staged, offer.source(), 1).unwrap();
    let copy = plugins.copy(&plugin);
    assert_eq!(fs::read_to_string(copy.join("pack/data/a.txt")).unwrap(), "a");
    assert!(!copy.join("other").exists(), "other packages are not its files");
    let manifest = plugins.manifest(&plugin).unwrap();
    assert_eq!((manifest.id.as_str(), &manifest.tools["python"].any), ("shout", &python.any));
    let text = fs::read_to_string(copy.join("executor.toml")).unwrap();
    assert!(
        !text.contains(place.root.path().to_str().unwrap()),
        "the same on each machine: {text}"
    );
    let again = Installed::open(&place.at("plugins")).unwrap();
    assert_eq!(again.find("shout").unwrap().source, offer.source());
    fs::write(place.site("pack/lang.py"), "y").unwrap();
    assert_ne!(offered_digest(offer).unwrap(), digest);
}

#[test]
fn a_manifest_in_a_package_is_that_of_the_plugin() {
    let place = Place::new();
    let manifest = "id = \"low\"\nversion = \"7\"\nkind = \"command\"\n[toolchain.p]\nany = [\"interpreter-of-the-package\"]\n[run]\nargv = [\"{p}\", \"{code}\"]\n";
    let files =
        [("pack/low/executor.toml", manifest), ("pack/low/run", "#!/bin/sh\n"), ("one.py", "")];
    place.package(
        "pack",
        "[polyloom.executors]\nlow = pack.low:executor.toml\nsolo = one:x\n",
        &files,
    );
    let (offers, problems) = place.offers();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(offers[0].folder, place.site("pack/low"));
    assert_eq!(
        offers[0].manifest.tools["p"].any,
        [place.at("env/bin/python").display().to_string()]
    );
    assert_eq!((offers[0].manifest.version.as_str(), offers[0].made.is_none()), ("7", true));
    assert_eq!(offers[1].made.as_ref().unwrap().part.as_deref(), Some("one.py"));
    // Another id than the entry point's is a mistake.
    place.write(
        "env/lib/python3.11/site-packages/pack/low/executor.toml",
        &manifest.replace("low", "up"),
    );
    let (offers, problems) = place.offers();
    assert_eq!(offers.len(), 1);
    assert!(problems[0].message.contains("a manifest with the id `up`"), "{problems:?}");
}

#[test]
fn an_entry_point_that_leads_nowhere_is_told_with_its_cause() {
    let place = Place::new();
    let entries =
        "[polyloom.executors]\na = badd:f\nb = pack.sub:f\nc = pack.deep.lang:f\nd = pack.fast:f\n";
    let files = [("pack/__init__.py", ""), ("pack/deep/lang.py", ""), ("pack/fast.abi3.so", "")];
    place.package("pack", entries, &files);
    let (offers, problems) = place.offers();
    let ids: Vec<&str> = offers.iter().map(|offer| offer.manifest.id.as_str()).collect();
    assert_eq!(ids, ["c", "d"]);
    let told: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(told[0].ends_with("is not in that folder: there is no module `badd`"), "{told:?}");
    assert!(told[1].ends_with("leads nowhere: `pack` has no module `pack.sub`"), "{told:?}");
    // One that was left where it was written.
    let info = "env/lib/python3.11/site-packages/pack-1.2.dist-info/direct_url.json";
    place.write(info, r#"{"url": "file:///src", "dir_info": {"editable": true}}"#);
    let told = place.offers().1[0].message.clone();
    assert!(told.contains("`pip install -e` can't be copied"), "{told}");
}

#[test]
fn functions_of_before_are_told_and_run_by_the_adapter() {
    let place = Place::new();
    place.package(
        "old",
        "[fabric_nodes.executors]\nold = old.lang:_exec\n",
        &[("old/lang.py", OLD)],
    );
    let (offers, problems) = place.offers();
    let words = argv(&offers[0]).join(" ");
    assert!(words.ends_with("--legacy old old.lang:_exec"), "{words}");
    assert!(problems[0].to_string().contains("warning[PL064]"), "{}", problems[0]);

    place.write("plugins-old/brainy.py", &format!("import sys\n{OLD}"));
    place.write("plugins-old/helper.py", "    def _exec(code, g): pass\n");
    place.write("plugins-old/notes.txt", OLD);
    place.write("plugins-old/Bad Name.py", OLD);
    symlink("/etc/passwd", place.at("plugins-old/link.py")).unwrap();
    let (offers, problems) = functions(&place.at("plugins-old"), &tool());
    let [offer] = offers.as_slice() else { panic!("{offers:?}") };
    assert_eq!(offer.manifest.id.as_str(), "brainy");
    assert_eq!(offer.manifest.tools["python"], tool(), "whatever Python cells have");
    assert!(argv(offer).join(" ").ends_with("--legacy brainy {dir}/brainy.py:_exec"));
    assert_eq!(offer.source(), Source::Function(place.at("plugins-old/brainy.py")));
    assert!(problems.iter().any(|problem| problem.message.contains("Bad Name")), "{problems:?}");
    // A folder that is a plugin is none of functions.
    place.write("plugins-old/executor.toml", "");
    assert!(functions(&place.at("plugins-old"), &tool()).0.is_empty());
}

#[test]
fn the_first_interpreter_that_has_a_package_counts() {
    let place = Place::new();
    place.package("pack", "[polyloom.executors]\nx = pack:x\n", &[("pack/__init__.py", "")]);
    place.environment("second");
    place.write(
        "second/lib/python3.11/site-packages/pack-9.dist-info/entry_points.txt",
        "[polyloom.executors]\nx = pack:x\n",
    );
    place.write("second/lib/python3.11/site-packages/pack/__init__.py", "");
    symlink("env", place.at("same")).unwrap();
    symlink("lib", place.at("env/lib64")).unwrap();
    let interpreters = ["env", "same", "second"].map(|of| place.at(of).join("bin/python"));
    let (offers, _) = packaged(&interpreters, &tool());
    let versions: Vec<&str> = offers.iter().map(|offer| offer.manifest.version.as_str()).collect();
    assert_eq!(versions, ["1.2"]);
    let names: Vec<String> = installed(&interpreters[2])
        .into_iter()
        .map(|of| format!("{} {}", of.name, of.version))
        .collect();
    assert_eq!(names, ["pack 9"]);
}

#[test]
fn names_are_claimed_once_and_bundled_ones_never() {
    let place = Place::new();
    for name in ["one", "two"] {
        let entries = format!(
            "[polyloom.executors]\nsame = {name}:x\npython = {name}:x\nown-{name} = {name}:x\n"
        );
        place.package(name, &entries, &[(&format!("{name}/__init__.py"), "")]);
    }
    let (mut offers, problems) = place.offers();
    assert!(problems.is_empty());
    let problems = settle(&mut offers, |name| name.as_str() == "python");
    let ids: Vec<&str> = offers.iter().map(|offer| offer.manifest.id.as_str()).collect();
    assert_eq!(ids, ["same", "own-one", "same", "own-two"]);
    let told: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(told[0].contains("`python` of one 1.2 in ") && told[0].contains("bundled"), "{told:?}");
    let both = told.last().unwrap();
    assert!(
        both.contains("`same`") && both.contains("one 1.2 in") && both.contains("two 1.2 in"),
        "{both}"
    );
}

#[test]
fn what_is_too_long_is_not_read() {
    let place = Place::new();
    place.package("huge", "", &[("huge/__init__.py", "")]);
    let mut file = fs::File::create(place.site("huge-1.2.dist-info/entry_points.txt")).unwrap();
    file.write_all(b"[polyloom.executors]\nhuge = huge:x\n").unwrap();
    file.set_len(100 << 20).unwrap();
    let began = Instant::now();
    let told = place.told();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(told.contains("huge 1.2 in ") && told.contains("longer than 1048576 bytes"), "{told}");
}

#[test]
fn pipes_and_other_encodings_are_not_waited_for_or_read() {
    let place = Place::new();
    place.package("pipe", "", &[]);
    let path = place.site("pipe-1.2.dist-info/entry_points.txt");
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    place.package("latin", "", &[]);
    fs::write(
        place.site("latin-1.2.dist-info/entry_points.txt"),
        b"[polyloom.executors]\n\xff = x\n",
    )
    .unwrap();
    let told = place.told();
    assert!(told.contains("no regular file") && told.contains("latin 1.2"), "{told}");
}

#[test]
fn names_that_steer_a_terminal_are_escaped_and_offer_nothing() {
    let place = Place::new();
    let entries = "[polyloom.executors]\n\u{1b}[31mred = p:x\nok\u{202e} = p:x\na = p\u{7}:x\n";
    place.package("ctrl", entries, &[("p/__init__.py", "")]);
    let told = place.told();
    assert_eq!(told.lines().filter(|line| line.contains("warning")).count(), 3, "{told}");
    assert!(!told.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{told:?}");
}

#[test]
fn nothing_outside_of_the_packages_is_reached() {
    let place = Place::new();
    place.write(
        "outside/executor.toml",
        "id = \"out\"\nversion = \"1\"\nkind = \"command\"\n[run]\nargv = [\"{dir}/x\"]\n",
    );
    place.write("outside/__init__.py", "secret");
    place.write("outside/entry_points.txt", "[polyloom.executors]\nfar = well:x\n");
    symlink(place.at("outside"), place.site("linked")).unwrap();
    symlink(place.at("outside"), place.site("far-1.dist-info")).unwrap();
    let entries = "[polyloom.executors]\nout = linked:executor.toml\nout2 = linked:x\n\
                   up = ../../outside:x\nup2 = ..outside:executor.toml\nabs = /etc:executor.toml\ngone = nowhere.at.all:x\n";
    place.package("evil", entries, &[]);
    let told = place.told();
    for name in ["out", "out2", "up", "up2", "abs", "gone"] {
        assert!(told.contains(&format!("`{name} = ")), "{name}: {told}");
    }
    assert!(told.contains("far 1 in "), "{told}");
    // A link in what would be copied is refused when it is.
    place.package("holed", "[polyloom.executors]\nholed = holed:x\n", &[("holed/__init__.py", "")]);
    symlink("/etc/passwd", place.site("holed/passwd")).unwrap();
    let (offers, _) = place.offers();
    let offer = offers.iter().find(|offer| offer.manifest.id.as_str() == "holed").unwrap();
    let plugins = Installed::open(&place.at("plugins")).unwrap();
    let error = plugins.stage_offer(offer).unwrap_err().to_string();
    assert!(error.contains("passwd` is a symbolic link"), "{error}");
    assert!(!place.at("plugins").exists(), "nothing is left of it");
}

#[test]
fn an_interpreter_that_is_none_offers_nothing() {
    let place = Place::new();
    for interpreter in ["", "python3", "/", "/bin", "/no/such/bin/python3"] {
        assert!(packaged(&[interpreter.into()], &tool()).0.is_empty());
    }
    fs::write(place.at("env/pyvenv.cfg"), "home = ../..\ninclude-system-site-packages = true\n")
        .unwrap();
    assert_eq!(place.told(), "");
}
