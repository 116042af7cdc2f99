//! Executors in Python packages: found by what is installed with them, agreed to, run from their copies.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use polyloom_test_e2e::{Ended, Place, needs, skip};

const FLOW: &str = "[cells.a]\nlang = \"echo\"\nparams = { name = \"Ada\" }\noutputs = { text = \"str\" }\ncode = \"hello {name}\"\n";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins/echo-python")
}

fn python(program: &Path, args: &[&str]) {
    let mut command = Command::new(program);
    let _ = command.args(args).env("PIP_NO_INDEX", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A virtual environment beside the flow.
fn environment(place: &Place, how: &[&str]) -> PathBuf {
    let folder = place.project().join(".venv");
    let args = [&["-m", "venv"], how, &[folder.to_str().unwrap()]].concat();
    python(Path::new("python3"), &args);
    folder
}

fn pip(environment: &Path, args: &[&str]) {
    python(&environment.join("bin/python"), &[&["-m", "pip", "-q"], args].concat());
}

fn install_example(environment: &Path) {
    pip(
        environment,
        &["install", "--no-index", "--no-build-isolation", example().to_str().unwrap()],
    );
}

/// Puts a package into the environment as an installer would; it is not built.
fn put(environment: &Path, name: &str, entries: &str, files: &[(&str, &str)]) {
    let lib = std::fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path();
    let about = format!("{name}-0.2.dist-info/entry_points.txt");
    for (path, text) in files.iter().chain([&(about.as_str(), entries)]) {
        let path = lib.join("site-packages").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// A function of before: what it prints is its code in capitals and what it was given.
const OLD: &str = "import os\ndef _exec(code, g):\n    if code.startswith('fail'):\n        return False, 'no ' + code\n    \
                   g['text'] = code.upper() + ' ' + g['name']\n    return True, {'stdout': g['text'], 'mood': 'fine'}\n";

fn done(place: &Place, args: &[&str]) -> Ended {
    place.polyloom(args).exits(0)
}

fn said(place: &Place) -> String {
    let _ = place.run(&[]).exits(0);
    done(place, &["logs", "latest", "a"]).stdout()
}

#[test]
fn a_package_is_found_enabled_run_and_removed() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let environment = environment(&place, &[]);
    install_example(&environment);
    let told = place.polyloom(&["run"]).exits(2).stderr();
    assert!(told.contains("`echo` is offered"), "{told}");
    assert!(told.contains(": polyloom plugin enable echo\n"), "{told}");
    let listed = done(&place, &["plugin", "list"]).stdout();
    assert!(listed.contains("echo-python 0.1.0 in ") && listed.contains("not enabled (python)"));
    let told = place.polyloom(&["plugin", "enable", "echo"]).exits(2).stderr();
    let interpreter = environment.join("bin/python");
    assert!(
        told.contains("runs the program") && told.contains(interpreter.to_str().unwrap()),
        "{told}"
    );
    let _ = done(&place, &["plugin", "enable", "echo", "--yes"]);
    assert_eq!(said(&place), "hello Ada\n");
    let report =
        done(&place, &["plugin", "test", "echo", "--format", "json", "--timeout", "60s"]).json();
    let run = &report["grades"][0];
    assert!(report["ok"] == true && run["passed"].as_u64().unwrap() > 15, "{run}");
    // A mistake of the cell has its line in the flow.
    place.edit("polyloom.toml", "{name}", "{nobody}");
    let told = place.polyloom(&["run"]).exits(1).stderr();
    assert!(
        told.contains("there is no input 'nobody'") && told.contains("polyloom.toml:5"),
        "{told}"
    );
    place.edit("polyloom.toml", "{nobody}", "{name}");
    // What runs is the copy: the package may change, or go.
    let _ = place.polyloom(&["plugin", "outdated"]).exits(4);
    let site = std::fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path();
    let file = site.join("site-packages/echo_python/language.py");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("print(lines[-1])", "print(lines[-1] + '!')")).unwrap();
    place.edit("polyloom.toml", "Ada", "Bea");
    let told = place.polyloom(&["run"]).exits(0).stderr();
    let note =
        "`echo` runs as it was installed; `polyloom plugin install echo` takes what is there now";
    assert!(told.contains(note), "{told}");
    assert!(!told.contains("says that it is version"), "a made manifest has the package's: {told}");
    assert_eq!(said(&place), "hello Bea\n");
    let enabled = done(&place, &["plugin", "enable", "echo", "--yes"]).stderr();
    assert!(enabled.contains(note), "{enabled}");
    let listed = done(&place, &["plugin", "list"]).stdout();
    assert!(listed.contains("installed, outdated"), "{listed}");
    let hint = done(&place, &["plugin", "outdated"]).stderr();
    assert_eq!(hint, "hint: polyloom plugin install echo\n");
    let outdated = done(&place, &["plugin", "outdated", "--format", "json"]).json();
    assert_eq!(outdated["plugins"][0]["what"], "has changed");
    // Installed once more, it is the new one.
    let _ = done(&place, &["plugin", "install", "echo", "--yes"]);
    assert_eq!(said(&place), "hello Bea!\n");
    let told = place.polyloom(&["run"]).exits(0).stderr();
    assert!(!told.contains("as it was installed"), "{told}");
    pip(&environment, &["uninstall", "-y", "echo-python"]);
    place.edit("polyloom.toml", "Bea", "Cai");
    assert_eq!(said(&place), "hello Cai!\n");
    for (name, said) in [
        ("echo", "nothing else is offered"),
        ("python", "`python` is bundled"),
        ("py", "need no installation"),
        ("echo-python", "no plugin of that name is offered"),
    ] {
        let told = place.polyloom(&["plugin", "install", name, "--yes"]).exits(2).stderr();
        assert!(told.contains(said) && !told.contains("making"), "no index is asked: {told}");
    }
    let _ = done(&place, &["plugin", "remove", "echo"]);
    let told = place.polyloom(&["run"]).exits(2).stderr();
    assert!(!told.contains("is offered"), "{told}");
}

/// What `plugin new` makes can be a package, and is tested as one.
#[test]
fn a_scaffold_is_a_package_with_its_cases() {
    needs!("python3");
    let place = Place::flow("[cells.a]\nlang = \"mine\"\ncode = \"say hello\"\n");
    let _ = done(&place, &["plugin", "new", "mine", "--lang", "python"]);
    let environment = environment(&place, &["--system-site-packages"]);
    // As pip does it, where it may fetch what builds packages.
    let setup = "from setuptools import setup; setup()";
    let args = ["-c", setup, "install", "--single-version-externally-managed", "--record", "files"];
    let mut setup = Command::new(environment.join("bin/python"));
    if !setup.args(args).current_dir(place.project().join("mine")).status().unwrap().success() {
        return skip("python3 has no setuptools");
    }
    // A folder of that name would go before the package.
    std::fs::rename(place.project().join("mine"), place.project().join("source")).unwrap();
    let _ = done(&place, &["plugin", "enable", "mine", "--yes"]);
    let report = done(&place, &["plugin", "test", "mine", "--format", "json"]).json();
    assert_eq!(report["ok"], true, "{report}");
    let _ = place.run(&[]).exits(0);
    // Without its cases, and without its interpreter, it is said what is missing.
    let cases = environment.join("lib");
    let lib = std::fs::read_dir(cases).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(lib.join("site-packages/mine/conformance.toml")).unwrap();
    let _ = done(&place, &["plugin", "remove", "mine"]);
    let _ = done(&place, &["plugin", "enable", "mine", "--yes"]);
    let told = place.polyloom(&["plugin", "test", "mine"]).exits(2).stderr();
    assert!(told.contains("`mine` has no conformance.toml beside its manifest"), "{told}");
    std::fs::remove_dir_all(&environment).unwrap();
    let told = place.polyloom(&["run", "--force-all"]).exits(3).stderr();
    assert!(
        told.contains("/.venv/bin/python") && told.contains("` and nothing is there"),
        "{told}"
    );
    let hint = "the environment of its package is gone: make it anew and `polyloom plugin install mine`, or `polyloom plugin remove mine`";
    assert!(told.contains(hint), "{told}");
}

#[test]
fn functions_of_before_run_and_are_warned_of() {
    needs!("python3");
    let place = Place::flow(FLOW);
    place.write("old/echo.py", OLD);
    place.write("old/notes.txt", "no plugin");
    let told = place.polyloom(&["--executor-dir", "old", "run"]).exits(0).stderr();
    assert_eq!(told.matches("PL064").count(), 1, "where it ran: {told}");
    let told = place.polyloom(&["--executor-dir", "old", "check"]).exits(0).stderr();
    assert_eq!(told.matches("PL064").count(), 1, "where it is: {told}");
    let logs = done(&place, &["logs", "latest", "a"]).stdout();
    assert_eq!(logs, "HELLO {NAME} Ada\n");
    let told = place.polyloom(&["plugin", "install", "old"]).exits(2).stderr();
    assert!(told.contains("PL064") && told.contains("--yes"), "{told}");
    let _ = done(&place, &["plugin", "install", "old", "--yes"]);
    assert_eq!(said(&place), "HELLO {NAME} Ada\n");
    place.edit("polyloom.toml", "hello {name}", "fail {name}");
    let told = place.polyloom(&["run"]).exits(1).stderr();
    assert!(told.contains("no fail {name}"), "{told}");
    let _ = done(&place, &["plugin", "remove", "echo"]);
    // The same in a package.
    place.edit("polyloom.toml", "fail {name}", "again");
    let environment = environment(&place, &["--without-pip"]);
    put(
        &environment,
        "old_echo",
        "[fabric_nodes.executors]\necho = old_echo:_exec\n",
        &[("old_echo.py", OLD)],
    );
    let told = place.polyloom(&["plugin", "enable", "echo", "--yes"]).exits(0).stderr();
    assert!(told.contains("PL064") && told.contains("old-echo 0.2"), "{told}");
    assert_eq!(said(&place), "AGAIN Ada\n");
}

#[test]
fn a_broken_package_is_told_and_a_name_that_is_claimed_twice_is_refused() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let environment = environment(&place, &[]);
    install_example(&environment);
    put(
        &environment,
        "other",
        "[polyloom.executors]\npython = other:x\nbad = ../../x:y\nloop = other:x\ngone = nowhere:x\n",
        &[("other.py", "")],
    );
    let told = done(&place, &["plugin", "list"]);
    let (out, err) = (told.stdout(), told.stderr());
    assert!(out.contains("echo-python") && out.contains("loop"), "{out}");
    assert!(
        err.contains("`python` of other 0.2 in ") && err.contains("`bad = ../../x:y`"),
        "{err}"
    );
    place.write("gone.flow.toml", "[cells.a]\nlang = \"gone\"\ncode = \"x\"\n");
    for args in [&["run", "gone.flow.toml"][..], &["check", "gone.flow.toml"]] {
        let told = place.polyloom(args).exits(2).stderr();
        assert!(told.contains("`gone = nowhere:x` is not in that folder"), "{told}");
    }
    // What names no executor ends its cells, and nothing else.
    let _ = done(&place, &["plugin", "enable", "loop", "--yes"]);
    let _ = done(&place, &["plugin", "enable", "echo", "--yes"]);
    place.edit("polyloom.toml", "[cells.a]", "[cells.b]\nlang = \"loop\"\ncode = \"\"\n[cells.a]");
    let told = place.polyloom(&["run", "-k"]).stderr();
    assert!(told.contains("`other` has no `x`"), "{told}");
    assert_eq!(done(&place, &["logs", "latest", "a"]).stdout(), "hello Ada\n");
    let _ = done(&place, &["plugin", "remove", "echo"]);
    put(&environment, "twice", "[polyloom.executors]\necho = other:x\n", &[]);
    let told = place.polyloom(&["plugin", "enable", "echo", "--yes"]).exits(2).stderr();
    assert!(told.contains("`echo-python 0.1.0 in ") && told.contains("`twice 0.2 in "), "{told}");
    let _ = place.polyloom(&["plugin", "info", "echo"]).exits(2);
}

/// What is in the folder of the plugins' environments.
fn environments(place: &Place) -> usize {
    let folder = place.root().join("home/.local/share/polyloom/plugins/environments");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// A copy of the example, in which a test may build.
fn project(place: &Place) -> String {
    for file in [
        "pyproject.toml",
        "build_wheel_here.py",
        "echo_python/__init__.py",
        "echo_python/words.py",
        "echo_python/language.py",
    ] {
        place.write(&format!("echo/{file}"), std::fs::read(example().join(file)).unwrap());
    }
    "echo".to_owned()
}

#[test]
fn a_project_is_installed_into_an_environment_of_its_own() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let folder = project(&place);
    let told = place.polyloom(&["plugin", "install", &folder, "--offline"]).exits(2).stderr();
    assert!(told.contains("runs its code") && told.contains("outside of the sandbox"), "{told}");
    assert_eq!(environments(&place), 0, "nothing ran");
    let _ = done(&place, &["plugin", "install", &folder, "--offline", "--yes"]);
    assert_eq!(environments(&place), 1);
    assert_eq!(said(&place), "hello Ada\n");
    let info = done(&place, &["plugin", "info", "echo"]).stdout();
    assert!(info.contains("echo-python 0.1.0") && info.contains("pip "), "{info}");
    // The Python beside a flow came with it, from anybody: what pip is started with is none of it.
    let fake = place.project().join(".venv/bin/python");
    let mark = place.root().join("mark");
    place.write(".venv/bin/python", format!("#!/bin/sh\ntouch {}\n", mark.display()));
    std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).unwrap();
    assert!(info.contains("/project/echo (echo-python 0.1.0 in "), "{info}");
    // What it was built of is another now.
    let _ = place.polyloom(&["plugin", "outdated"]).exits(4);
    let told = place.polyloom(&["run"]).exits(0).stderr();
    assert!(!told.contains("as it was installed"), "{told}");
    place.edit("echo/pyproject.toml", "0.1.0", "0.2.0");
    let told = done(&place, &["plugin", "outdated"]);
    assert!(told.stdout().contains("has changed"), "{}", told.stdout());
    assert!(told.stderr().contains("hint: polyloom plugin install /"), "{}", told.stderr());
    let told = place.polyloom(&["run"]).exits(0).stderr();
    assert!(told.contains("`echo` runs as it was installed"), "{told}");
    // A new one in its place; the old environment goes.
    let _ = done(&place, &["plugin", "install", &folder, "--offline", "--yes"]);
    assert_eq!(environments(&place), 1);
    let info = done(&place, &["plugin", "info", "echo", "--format", "json"]).json();
    assert_eq!(info["packages"][0], "echo-python 0.2.0");
    assert!(!mark.exists());
    let _ = done(&place, &["plugin", "remove", "echo"]);
    assert_eq!(environments(&place), 0);
}

#[test]
fn what_can_not_be_built_or_offers_nothing_leaves_nothing() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let folder = project(&place);
    place.write("echo/build_wheel_here.py", "raise SystemExit('no \\x1b[31mwheel')\n");
    let told =
        place.polyloom(&["plugin", "install", &folder, "--offline", "--yes"]).exits(3).stderr();
    assert!(told.contains("installing it failed") && told.contains("wheel"), "{told}");
    assert!(!told.contains('\x1b'), "{told:?}");
    assert_eq!(environments(&place), 0);
    let _ = project(&place);
    place.edit("echo/pyproject.toml", "polyloom.executors", "somebody.elses");
    let told =
        place.polyloom(&["plugin", "install", &folder, "--offline", "--yes"]).exits(2).stderr();
    assert!(told.contains("offers no executor") && told.contains("polyloom.executors"), "{told}");
    assert_eq!(environments(&place), 0);
    // A name that is nowhere; pip is not asked for what is no name.
    let absent = ["plugin", "install", "pip:polyloom-no-such-package", "--offline", "--yes"];
    let told = place.polyloom(&absent).exits(3).stderr();
    assert!(told.contains("installing it failed"), "{told}");
    for name in ["--index-url=x", "https://example.com/x.whl", "../up", "x @ y", "", "x=1"] {
        let name = format!("pip:{name}");
        let told = place.polyloom(&["plugin", "install", "--yes", &name]).exits(2).stderr();
        assert!(told.contains("is no name of a Python package"), "{told}");
    }
    // A typo is asked of nobody.
    let told = place.polyloom(&["plugin", "install", "--yes", "polyloom-plain"]).exits(2).stderr();
    assert!(told.contains("there is no file or folder `polyloom-plain`"), "{told}");
    assert!(told.contains("crate:NAME, pip:NAME"), "{told}");
    assert_eq!(environments(&place), 0);
}

#[test]
fn a_package_comes_from_the_index_that_pip_is_configured_with() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let folder = place.project().join(project(&place));
    let code = "import build_wheel_here as b, sys; b.build_wheel(sys.argv[1])";
    let output = Command::new("python3").args(["-B", "-c", code, "."]).current_dir(folder).output();
    assert!(output.unwrap().status.success());
    let install =
        place.call(&["plugin", "install", "pip:echo-python==0.1.0", "--offline", "--yes"]);
    let _ = install.env("PIP_FIND_LINKS", place.project().join("echo")).end().exits(0);
    assert_eq!(said(&place), "hello Ada\n");
    let list = done(&place, &["plugin", "list"]).stdout();
    assert!(list.contains("echo") && list.contains("installed"), "{list}");
    // That name is also a folder here.
    std::fs::remove_dir_all(place.project().join("echo")).unwrap();
    let told = place.polyloom(&["plugin", "install", "echo", "--yes"]).exits(2).stderr();
    assert!(told.contains("polyloom plugin install pip:echo-python==0.1.0"), "{told}");
}

#[test]
fn offline_no_index_is_asked() {
    needs!("python3");
    let place = Place::flow(FLOW);
    let index = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/simple", index.local_addr().unwrap());
    let install = |args: &[&str]| {
        let args = [&["plugin", "install", "pip:polyloom-no-such-package", "--yes"], args].concat();
        let call = place.call(&args).env("PIP_INDEX_URL", &url);
        call.env("PIP_RETRIES", "0").env("PIP_DEFAULT_TIMEOUT", "5").end().exits(3)
    };
    index.set_nonblocking(true).unwrap();
    let _ = install(&["--offline"]);
    assert_eq!(index.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came");
    index.set_nonblocking(false).unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = index.accept().unwrap();
        let mut head = [0; 200];
        let length = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let _ = install(&[]);
    assert!(asked.join().unwrap().starts_with("GET /simple/polyloom-no-such-package/"));
}

#[test]
fn packages_are_found_where_python_is_and_nothing_of_them_runs() {
    let place = Place::flow(FLOW);
    let mark = place.root().join("mark");
    let environment = place.project().join("env");
    let program = format!("#!/bin/sh\ntouch {}\n", mark.display());
    place.write("env/bin/python3", program);
    std::fs::set_permissions(environment.join("bin/python3"), PermissionsExt::from_mode(0o755))
        .unwrap();
    place.write("env/pyvenv.cfg", "home = /usr/bin\n");
    place.write("env/lib/python3.11/site-packages/.keep", "");
    let code = format!("open({:?}, 'w')\n", mark.to_str().unwrap());
    put(
        &environment,
        "loud",
        "[polyloom.executors]\necho = loud:x\n",
        &[("loud/__init__.py", &code)],
    );
    let info =
        |name: &str, value: String| place.call(&["plugin", "info", "echo"]).env(name, value).end();
    let bin = environment.join("bin").display().to_string();
    let places = [
        ("VIRTUAL_ENV", environment.display().to_string()),
        ("PATH", format!("{bin}:/usr/bin:/bin")),
    ];
    for (name, value) in places {
        let told = info(name, value).exits(0).stdout();
        assert!(told.contains(" loud 0.2 in ") && told.contains("not installed"), "{told}");
    }
    let _ = info("LC_ALL", "C".to_owned()).exits(2);
    std::fs::rename(environment, place.project().join(".venv")).unwrap();
    let _ = info("LC_ALL", "C".to_owned()).exits(0);
    // Where `enable` has to be called is said.
    std::fs::create_dir(place.project().join("part")).unwrap();
    for name in [".venv", "polyloom.toml"] {
        std::fs::rename(place.project().join(name), place.project().join("part").join(name))
            .unwrap();
    }
    let told = place.polyloom(&["run", "part"]).exits(2).stderr();
    assert!(told.contains(": cd part && polyloom plugin enable echo\n"), "{told}");
    assert!(!mark.exists());
}
