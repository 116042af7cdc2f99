//! What an executor makes once for all its workers: when they have it, that it is the host's word alone, and that cells are none the wiser.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use polyloom_test_e2e::{Place, needs};

const CODE: &str = r"
import os, polyloom, sys
try:
    os.unlink('/polyloom/once/polyloom/_worker.pyc')
    said = 'it could be taken away'
except OSError:
    said = os.path.basename(sys.modules['polyloom._execution'].__file__)
y = f'{said} {polyloom.__file__}'
";

/// Where the worker's modules were loaded from, by a run of its own.
#[track_caller]
fn said(place: &Place) -> String {
    let run = place.run(&["-F"]).exits(0);
    String::from_utf8_lossy(&run.bytes("a", "y")).into_owned()
}

#[test]
fn workers_have_bytecode_from_the_second_run_on() {
    needs!("python3");
    let flow = "[cells.a]\nlang = \"python\"\noutputs = { y = \"str\" }\ncode = '''\n";
    let place = Place::flow(&format!("{flow}{CODE}'''\n"));
    // The module of the SDK is where it always is.
    let (first, second) = (said(&place), said(&place));
    assert!(first.ends_with("_execution.py /polyloom/sdk/python/polyloom/__init__.py"), "{first}");
    assert!(second.ends_with("_execution.pyc /polyloom/sdk/python/polyloom/__init__.py"));
    // What somebody wrote to is not used.
    let trees = fs::read_dir(place.store().join("trees")).unwrap();
    let made = trees.map(|tree| tree.unwrap().path().join("polyloom/_execution.pyc"));
    let made = made.filter(|path| path.exists()).collect::<Vec<_>>();
    assert_eq!(made.len(), 1, "{made:?}");
    fs::set_permissions(&made[0], fs::Permissions::from_mode(0o600)).unwrap();
    let forged = vec![0; fs::read(&made[0]).unwrap().len()];
    fs::write(&made[0], forged).unwrap();
    assert_eq!(said(&place), first, "it goes without");
    assert_eq!(said(&place), second, "it was made anew");
}

#[test]
fn what_can_not_be_made_once_is_tried_once() {
    needs!("python3");
    let place =
        Place::flow("[cells.a]\nlang = \"upper\"\noutputs = { text = \"str\" }\ncode = 'a'\n");
    let upper = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/examples/upper");
    let manifest = fs::read_to_string(upper.join("executor.toml")).unwrap();
    let once = "once = [\"{python}\", \"-c\", \"raise SystemExit('no bytecode today')\"]\n";
    place.executor("upper", &format!("{manifest}{once}"));
    fs::copy(upper.join("upper.py"), place.executors().join("upper/upper.py")).unwrap();
    let told = || {
        let ended = place.call(&["run", "-F"]).env("POLYLOOM_LOG", "warn").end().exits(0);
        ended.stderr().contains("no bytecode today")
    };
    assert!(told());
    assert!(!told());
}

/// With a compiler that insists on its archive, and leaves a file where it had one.
#[test]
fn a_compiler_has_its_archive_from_the_second_run_on() {
    needs!("java", "javac");
    let flow = |n: u32| {
        format!(
            "[cells.a]\nlang = \"kaffee\"\noutputs = {{ y = \"str\" }}\ncode = '''\nimport java.nio.file.*;\nclass Case {{ public static void main(String[] a) throws Exception {{
  Files.writeString(Path.of(System.getenv(\"OUT\"), \"y\"), \"{n} \" + Files.exists(Path.of(\"/cell/program/archived\")));
}} }}\n'''\n"
        )
    };
    let place = Place::flow(&flow(0));
    let java = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../executors/java/executor.toml");
    let manifest = fs::read_to_string(java).unwrap();
    let manifest = manifest
        .replace("\"java\"\nversion", "\"kaffee\"\nversion")
        .replace(
            "[\"java\"]\n\n[toolchain.java]",
            "[\"kaffee\"]\n[toolchain.sh]\nany = [\"sh\"]\nversion = []\n\n[toolchain.java]",
        )
        .replace("\"/bin/sh\"", "\"{sh}\"")
        .replace("-J-Xshare:auto $archive", "$archive")
        .replace("&& archive=\"", "&& archive=\"-J-Xshare:on ")
        .replace("exit $status\n", "[ -z \"$archive\" ] || touch \"$3/archived\"\nexit $status\n");
    place.executor("kaffee", &manifest);
    let said = |n: u32| {
        place.write("polyloom.toml", flow(n));
        let run = place.run(&[]).exits(0);
        String::from_utf8_lossy(&run.bytes("a", "y")).into_owned()
    };
    // It is made beside the first.
    for (n, told) in [(1, "1 false"), (2, "2 true")] {
        let said = said(n);
        assert!(said.ends_with(told), "{said}");
    }
}
