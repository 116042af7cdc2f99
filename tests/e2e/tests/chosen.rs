//! Programs that a flow or a plugin chooses itself: what they bring into view, and whose results theirs are.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use polyloom_test_e2e::{Place, needs};

fn program(place: &Place, path: &str, text: &str) {
    place.write(path, text);
    let path = place.project().join(path);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A file that no cell may see, world-readable, in a folder of its own outside of the project.
fn secret(place: &Place) -> std::path::PathBuf {
    let path = place.root().join("elsewhere/secret.txt");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "hunter2\n").unwrap();
    path
}

fn reads(place: &Place, flow: &str, paths: &[&Path]) -> String {
    let all = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    place.write(
        "polyloom.toml",
        format!("{flow}[cells.a]\nlang = \"shell\"\ncode = \"cat {all} || true\"\n"),
    );
    let _ = place.polyloom(&["run", "-f"]);
    let logs = place.polyloom(&["logs", "latest", "a"]);
    logs.stdout() + &logs.stderr()
}

#[test]
fn no_link_and_no_answer_brings_more_into_view_than_an_installation() {
    let place = Place::new();
    let secret = secret(&place);
    let root = place.project();
    std::os::unix::fs::symlink("/", root.join("link")).unwrap();
    let through = |folder: &Path| folder.join("link").join(secret.strip_prefix("/").unwrap());
    // The program's own place, by a link.
    let flow = "[executors.shell]\nbash = \"link/bin/bash\"\n";
    let said = reads(&place, flow, &[&secret, &through(&root), Path::new("/proc/1/cmdline")]);
    assert!(!said.contains("hunter2"), "{said}");
    // What it says that it needs: the disk by a link, folders of the system, the project, somebody's folder that has a `lib`.
    std::fs::create_dir_all(secret.with_file_name("lib")).unwrap();
    std::fs::create_dir_all(root.join("lib")).unwrap();
    place.write("private.txt", "hunter2\n");
    let roots = [
        root.join("link"),
        "/var".into(),
        "/".into(),
        root.clone(),
        secret.parent().unwrap().to_owned(),
    ];
    let lines: String =
        roots.iter().map(|root| format!("echo root: {}\n", root.display())).collect();
    program(
        &place,
        "bin/bash",
        &format!(
            "#!/bin/sh\ncase \"$1\" in --version) echo GNU bash\n{lines};; *) exec /bin/bash \"$@\";; esac\n"
        ),
    );
    let flow = "[executors.shell]\nbash = \"bin/bash\"\n";
    let private = root.join("private.txt");
    let said =
        reads(&place, flow, &[&secret, &through(&root), &private, Path::new("/var/log/dpkg.log")]);
    assert!(!said.contains("hunter2") && !said.contains("install "), "{said}");
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn results_of_a_chosen_program_are_nobody_elses() {
    needs!("gcc");
    let cells = "[cells.sum]\nlang = \"shell\"\ncode = \"echo $((20+22)) > $OUT/y\"\noutputs = { y = \"int\" }\n\
                 [cells.c]\nlang = \"c\"\ncode = '''\n#include <polyloom.h>\nint main(void) { pl_out_int(\"y\", 42); return 0; }\n'''\noutputs = { y = \"int\" }\n";
    let place = Place::new();
    // They say what the real ones say, and do something else.
    program(
        &place,
        "bad/bash",
        "#!/bin/sh\ncase \"$1\" in -*) exec /bin/bash \"$@\";; *) echo 66 > $OUT/y;; esac\n",
    );
    program(
        &place,
        "bad/gcc",
        "#!/bin/sh\ncase \"$*\" in *-o*) for it; do last=$it; done; printf '#!/bin/sh\\necho 66 > $OUT/y\\n' > \"$last\"; chmod +x \"$last\";; *) exec gcc \"$@\";; esac\n",
    );
    place.write(
        "bad/polyloom.toml",
        format!("[executors.shell]\nbash = \"./bash\"\n[executors.c]\ncc = \"./gcc\"\n{cells}"),
    );
    place.write("good/polyloom.toml", cells);
    let bad = place.run(&["bad", "-k"]);
    assert_eq!(bad.bytes("sum", "y"), [66], "it did what was meant");
    let good = place.run(&["good"]).exits(0);
    assert_eq!((good.bytes("sum", "y"), good.bytes("c", "y")), (vec![42], vec![42]));
    // A plugin with the id, the version and the argv of another is not that one either.
    let manifest = |program: &str| {
        format!(
            "id = \"mine\"\nversion = \"1\"\nkind = \"command\"\n[toolchain.sh]\nany = [\"{program}\"]\nversion = [\"-c\", \"echo mine\"]\n[run]\nargv = [\"{{sh}}\", \"{{code}}\"]\n"
        )
    };
    place.write(
        "cell/polyloom.toml",
        "[cells.a]\nlang = \"mine\"\ncode = \"echo ${BASH_VERSION:+of bash}\"\n",
    );
    for (folder, program, said) in [("one", "bash", "of bash\n"), ("two", "dash", "\n")] {
        place.write(&format!("{folder}/mine/executor.toml"), manifest(program));
        let _ = place.run(&["cell", "--executor-dir", folder]).exits(0);
        assert_eq!(place.polyloom(&["logs", "cell", "latest", "a"]).stdout(), said, "{program}");
    }
}
