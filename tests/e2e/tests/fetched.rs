//! `plugin install` of what other tools fetch or build: crates, npm packages, repositories.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use polyloom_test_e2e::{Place, needs};
use rustix::process::{Pid, Signal, kill_process_group};

fn sh(place: &Place, command: &str) {
    let done = Command::new("sh").args(["-ec", command]).current_dir(place.project()).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_repository_is_what_is_committed() {
    needs!("git");
    let place = Place::new();
    let _ = place.polyloom(&["plugin", "new", "mine"]).exits(0);
    sh(
        &place,
        "cd mine && git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm one && git tag v1",
    );
    place.edit(
        "mine/mine.sh",
        "say) printf '%s\\n' \"$rest\"",
        "say) printf 'second %s\\n' \"$rest\"",
    );
    let told = place.polyloom(&["plugin", "install", "git+./mine", "--yes"]).exits(0).stderr();
    assert!(told.contains("from git+") && told.contains("@HEAD"), "{told}");
    // The same under another name is from there, and asks nothing.
    let told = place.polyloom(&["plugin", "install", "git+./mine@v1"]).exits(0).stderr();
    assert!(
        told.contains("the same; from now on it is from git+") && told.contains("@v1"),
        "{told}"
    );
    let told = place.polyloom(&["plugin", "info", "mine"]).exits(0).stdout();
    assert!(told.contains("/mine@v1"), "{told}");
    let _ = place.polyloom(&["plugin", "install", "git+./mine/../mine"]).exits(0);
    let told = place.polyloom(&["plugin", "info", "mine"]).exits(0).stdout();
    assert!(told.contains("/mine@HEAD") && !told.contains(".."), "{told}");
    let _ = place.polyloom(&["run", "mine/try"]).exits(0);
    let said = || place.polyloom(&["logs", "mine/try", "latest", "greet"]).exits(0).stdout();
    assert_eq!(said(), "hello\n", "what is not committed is not installed");
    let _ = place.polyloom(&["plugin", "outdated"]).exits(4);
    sh(&place, "cd mine && git -c user.name=a -c user.email=a@b commit -qam two");
    let told = place.polyloom(&["plugin", "outdated"]).exits(0).stdout();
    assert!(told.contains("has changed"), "{told}");
    let _ = place.polyloom(&["plugin", "install", "git+./mine", "--yes"]).exits(0);
    let _ = place.polyloom(&["run", "mine/try"]).exits(0);
    assert_eq!(said(), "second hello\n");
    let _ = place.polyloom(&["plugin", "install", "git+./mine@v1", "--yes"]).exits(0);
    let _ = place.polyloom(&["run", "mine/try"]).exits(0);
    assert_eq!(said(), "hello\n");
    let commit = "git -c user.name=a -c user.email=a@b commit -qm";
    sh(
        &place,
        &format!("cd mine && git checkout -qb bare && git rm -q executor.toml && {commit} bare"),
    );
    sh(
        &place,
        &format!(
            "cd mine && git checkout -qb linked && ln -s / link && git add link && {commit} link"
        ),
    );
    sh(
        &place,
        &format!(
            "mkdir plain && git init -q new && cd mine && git checkout -qb unbuilt v1 && echo '*.sh' >.gitignore
            git rm -q --cached mine.sh && sed -i 's|^argv = .*|argv = [\"{{dir}}/mine.sh\"]|' executor.toml
            git add . && {commit} unbuilt && git checkout -q linked"
        ),
    );
    for (source, said) in [
        ("git+./mine@nowhere", "`nowhere` is no branch, tag or whole commit id of `/"),
        ("git+./mine@nowhere", "hint: valid: `bare`, `linked`, `master`, `unbuilt`, `v1`\n"),
        ("git+./mine@abcdef1", "`abcdef1` is no branch, tag or whole commit id of `/"),
        ("git+./plain", "plain` is in no repository"),
        ("git+./new", "new` has no commit yet"),
        ("git+./mine@unbuilt", "only what is committed is taken: commit the file"),
        ("git+./mine@--output=x", "is no revision"),
        ("git+./none", "there is no folder"),
        ("git+", "`git+` names no repository"),
        ("git+https://example.org/mine.git", "is an address"),
        ("https://example.org/mine.tar.gz", "clone or download it"),
        ("git+./mine@bare", "mine@bare/executor.toml`"),
        ("git+./mine@linked", "mine@linked` holds `link`"),
    ] {
        let ended = place.polyloom(&["plugin", "install", source, "--yes"]);
        assert_ne!(ended.code(), 0);
        assert!(ended.stderr().contains(said), "{source}: {}", ended.stderr());
        assert!(!ended.stderr().contains("unpacked"), "{source}: {}", ended.stderr());
    }
    assert!(!place.project().join("mine/x").exists());
}

/// Everything that git would run by the configuration of the repository that it reads.
#[test]
fn the_configuration_of_a_repository_runs_nothing() {
    needs!("git");
    let place = Place::new();
    let mark = place.root().join("mark");
    let touch = place.root().join("touch.sh");
    place.write("../touch.sh", format!("#!/bin/sh\ntouch {}\ncat\n", mark.display()));
    let _ = place.polyloom(&["plugin", "new", "mine"]).exits(0);
    let commit = "git -c user.name=a -c user.email=a@b commit -q";
    // A signature that only a program of the configuration can look at.
    let signed = "{ git cat-file commit HEAD | sed '/^$/,$d'; printf 'gpgsig -----BEGIN PGP SIGNATURE-----\\n \\n iQ==\\n -----END PGP SIGNATURE-----\\n\\none\\n'; } >.git/signed";
    sh(
        &place,
        &format!(
            "chmod +x {touch}
            cd mine && git init -q && git checkout -q -b main
            printf '*.sh filter=evil\\nshown.txt export-subst\\n' >.gitattributes
            printf '$Format:%%GG%%G?$\\n' >shown.txt
            git add . && {commit} -m one && {signed}
            git update-ref refs/heads/main $(git hash-object -t commit -w .git/signed)
            git config filter.evil.smudge {touch}
            git config filter.evil.clean {touch}
            git config filter.evil.required true
            for key in core.fsmonitor core.pager core.askPass core.sshCommand core.alternateRefsCommand \\
                gpg.program gpg.ssh.program gpg.x509.program uploadpack.packObjectsHook tar.tar.command \\
                diff.external credential.helper; do git config $key {touch}; done
            mkdir hooks && for hook in post-checkout pre-commit reference-transaction post-index-change; do
                cp {touch} hooks/$hook; done
            git config core.hooksPath $PWD/hooks",
            touch = touch.display()
        ),
    );
    let nothing_ran = |what: &str| assert!(!mark.exists(), "{what} ran what the repository names");
    let told = place.polyloom(&["plugin", "install", "git+./mine"]).exits(2).stderr();
    assert!(told.contains("nobody was asked"), "{told}");
    nothing_ran("an install that was declined");
    let _ = place.polyloom(&["plugin", "install", "git+./mine", "--yes"]).exits(0);
    nothing_ran("an install");
    let _ = place.polyloom(&["plugin", "outdated"]).exits(4);
    nothing_ran("`outdated`");
    // What is not there is not fetched from wherever the repository says.
    sh(
        &place,
        &format!(
            "cd mine
            git config core.repositoryFormatVersion 1
            git config extensions.partialClone origin
            git config remote.origin.promisor true
            git config remote.origin.url ssh://x/y
            git config remote.origin.uploadpack {touch}
            git config remote.origin.partialclonefilter blob:none
            blob=$(git rev-parse main:shown.txt)
            rm -f .git/objects/$(echo $blob | cut -c1-2)/$(echo $blob | cut -c3-)
            rm -f {mark}",
            touch = touch.display(),
            mark = mark.display()
        ),
    );
    let told = place.polyloom(&["plugin", "install", "git+./mine", "--yes"]).exits(3).stderr();
    assert!(told.contains("reading the repository failed"), "{told}");
    nothing_ran("an install of what is not whole");
    let told = place.polyloom(&["plugin", "outdated"]).exits(0).stdout();
    assert!(told.contains("reading the repository failed"), "{told}");
    nothing_ran("`outdated` of what is not whole");
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit_and_a_part_may_be_the_plugin() {
    needs!("git");
    let place = Place::new();
    let _ = place.polyloom(&["plugin", "new", "mine"]).exits(0);
    sh(
        &place,
        "mkdir all && mv mine all/ && cd all && git init -q && git checkout -q -b main && git add .
        git -c user.name=a -c user.email=a@b commit -qm one
        git -c user.name=a -c user.email=a@b tag -a -m v1 v1
        git branch odd/name && git rev-parse HEAD >id
        echo more >>mine/mine.sh && git -c user.name=a -c user.email=a@b commit -qam two",
    );
    let id = std::fs::read_to_string(place.project().join("all/id")).unwrap();
    let digest = |revision: &str| {
        let source = format!("git+./all/mine{revision}");
        let _ = place.polyloom(&["plugin", "install", &source, "--yes"]).exits(0);
        let told = place.polyloom(&["plugin", "info", "mine", "--format", "json"]).exits(0);
        told.json()["digest"].as_str().unwrap().to_owned()
    };
    let first = digest("@v1");
    assert_eq!(digest("@odd/name"), first);
    assert_eq!(digest(&format!("@{}", id.trim())), first);
    let second = digest("");
    assert_ne!(second, first);
    assert_eq!(digest("@main"), second);
}

/// A registry of npm with two packages, on a port of its own; it ends with the process.
fn registry(packages: Vec<(&'static str, &'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let own = address.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let _ = reader.read_line(&mut line);
            let mut header = String::new();
            while reader.read_line(&mut header).is_ok_and(|read| read > 2) {
                header.clear();
            }
            let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            let found = packages.iter().find_map(|(name, needs, archive)| {
                if path == format!("{name}.tgz") {
                    return Some(archive.clone());
                }
                let document = format!(
                    r#"{{"name":"{name}","dist-tags":{{"latest":"1.0.0"}},"versions":{{"1.0.0":{{"name":"{name}","version":"1.0.0",
                        "dependencies":{{{needs}}},"dist":{{"tarball":"{own}/{name}.tgz"}}}}}}}}"#
                );
                (path == *name).then(|| document.into_bytes())
            });
            let (status, body) = match found {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", b"{}".to_vec()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

#[test]
fn an_npm_package_comes_with_what_it_needs_and_runs_no_script() {
    needs!("npm", "node");
    let place = Place::new();
    let mark = place.root().join("mark");
    let scripts =
        format!(r#""scripts":{{"install":"touch {0}","postinstall":"touch {0}"}}"#, mark.display());
    let _ = place.polyloom(&["plugin", "new", "mine", "--lang", "javascript"]).exits(0);
    let needs = r#""loud":"1.0.0""#;
    place.write("loud/package.json", format!(r#"{{"name":"loud","version":"1.0.0","type":"module","exports":"./loud.mjs",{scripts}}}"#));
    place.write("loud/loud.mjs", "export const loud = (text) => text.toUpperCase();\n");
    place.write("mine/package.json", format!(r#"{{"name":"mine-plugin","version":"1.0.0","type":"module","dependencies":{{{needs}}},{scripts}}}"#));
    place.edit(
        "mine/mine.mjs",
        "import { setTimeout }",
        "import { loud } from \"loud\";\nimport { setTimeout }",
    );
    place.edit(
        "mine/mine.mjs",
        "console.log(filled(cx, text))",
        "console.log(loud(filled(cx, text)))",
    );
    sh(&place, "for it in loud mine; do (cd $it && npm pack --silent --ignore-scripts); done");
    let archive = |path: &str| std::fs::read(place.project().join(path)).unwrap();
    let address = registry(vec![
        ("mine-plugin", needs, archive("mine/mine-plugin-1.0.0.tgz")),
        ("loud", "", archive("loud/loud-1.0.0.tgz")),
    ]);
    let install = |source: &str, more: &[&str]| {
        let call = place.call(&[&["plugin", "install", source, "--yes"], more].concat());
        call.env("npm_config_registry", &address).end()
    };
    let told = install("npm:mine-plugin@1.0.0", &[]).exits(0).stderr();
    assert!(told.contains("from npm:mine-plugin@1.0.0"), "{told}");
    let _ = place.polyloom(&["run", "mine/try"]).exits(0);
    let said = place.polyloom(&["logs", "mine/try", "latest", "greet"]).exits(0).stdout();
    assert_eq!(said, "HELLO\n");
    let told = place.polyloom(&["plugin", "outdated"]).exits(4).stderr();
    assert!(told.contains("not asked: npm:mine-plugin@1.0.0"), "{told}");
    assert!(!mark.exists(), "a script ran");
    let told = install("npm:./mine", &[]).exits(2).stderr();
    assert!(told.contains("no name of an npm package"), "{told}");
    for (source, more) in [("npm:nobody-has-this", &[][..]), ("npm:loud-and-far", &["--offline"])] {
        let told = install(source, more).exits(3).stderr();
        assert!(told.contains("fetching it failed"), "{told}");
    }
}

/// The archive of a package: a plugin with a `package.json` and a `.npmrc`.
fn packed(place: &Place, name: &str, needs: &str, npmrc: &str) -> Vec<u8> {
    sh(place, &format!("mkdir -p {name} && cp -r mine {name}/package"));
    let package = format!(r#"{{"name":"{name}","version":"1.0.0","dependencies":{{{needs}}}}}"#);
    place.write(&format!("{name}/package/package.json"), package);
    place.write(&format!("{name}/package/.npmrc"), npmrc);
    sh(place, &format!("tar -czf {name}.tgz -C {name} package"));
    std::fs::read(place.project().join(format!("{name}.tgz"))).unwrap()
}

#[test]
fn npm_obeys_neither_a_package_nor_what_lies_above_it() {
    needs!("npm", "node");
    let place = Place::new();
    let _ = place.polyloom(&["plugin", "new", "mine"]).exits(0);
    // Whoever is led there by somebody else's configuration is seen.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let led = format!("registry=http://{}/\n", elsewhere.local_addr().unwrap());
    let unseen = |what: &str| assert!(elsewhere.accept().is_err(), "{what} led npm elsewhere");
    let address = registry(vec![
        ("armed", r#""loud":"1.0.0""#, packed(&place, "armed", r#""loud":"1.0.0""#, &led)),
        ("loud", "", packed(&place, "loud", "", "")),
        ("near", "", packed(&place, "near", r#""it":"file:/etc""#, "install-links=true\n")),
        ("far", "", packed(&place, "far", r#""deep":"1.0.0""#, "git=./mine.sh\n")),
        ("deep", r#""it":"git+file:///nowhere""#, packed(&place, "deep", "", "")),
    ]);
    let tmp = place.root().join("above");
    std::fs::create_dir(&tmp).unwrap();
    std::fs::write(tmp.join(".npmrc"), &led).unwrap();
    std::fs::write(
        tmp.join("package.json"),
        r#"{"name":"above","workspaces":["*","*/unpacked/*"]}"#,
    )
    .unwrap();
    // Without a registry of its own in the environment, which would win.
    let home = place.root().join("npmrc");
    std::fs::write(&home, format!("registry={address}/\n")).unwrap();
    let install = |source: &str, more: &[&str]| {
        let call = place.call(&[&["plugin", "install", source], more].concat());
        call.env("npm_config_userconfig", &home).env("TMPDIR", &tmp).end()
    };
    let told = install("npm:armed", &[]).exits(2).stderr();
    assert!(told.contains("npm fetches it and what it needs; no script runs"), "{told}");
    assert!(told.contains("nobody was asked whether `npm:armed` may be fetched"), "{told}");
    let _ = install("npm:armed", &["--yes"]).exits(0);
    unseen("a package");
    let _ = place.polyloom(&["run", "mine/try"]).exits(0);
    let told = install("npm:near", &["--yes"]).exits(2).stderr();
    assert!(told.contains("needs `it` from \"file:/etc\" (dependencies)"), "{told}");
    let told = install("npm:far", &["--yes"]).exits(3).stderr();
    assert!(told.contains("fetching what it needs failed"), "{told}");
    unseen("something");
}

#[test]
fn cargo_obeys_nothing_of_the_folder_that_one_is_in() {
    needs!("cargo");
    let place = Place::new();
    let mark = place.root().join("mark");
    place.write("wrapper.sh", format!("#!/bin/sh\ntouch {}\nexec \"$@\"\n", mark.display()));
    place.write(".cargo/config.toml", "[build]\nrustc-wrapper = \"./wrapper.sh\"\n");
    place.write("rust-toolchain.toml", "[toolchain]\npath = \"/nowhere\"\n");
    // Elsewhere, and with another such folder above it.
    place.write("../far/.cargo/config.toml", "[build]\nrustc-wrapper = \"./wrapper.sh\"\n");
    place.write("../far/rust-toolchain.toml", "[toolchain]\npath = \"/nowhere\"\n");
    place.write(
        "../far/mine/Cargo.toml",
        "[package]\nname = \"mine\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    place.write("../far/mine/src/main.rs", "fn main() {}\n");
    let _ = place.polyloom(&["plugin", "new", "it"]).exits(0);
    sh(
        &place,
        "chmod +x wrapper.sh && sed 's|/it.sh|/mine|' it/executor.toml > ../far/mine/executor.toml && mkdir tmp && cp -r .cargo rust-toolchain.toml wrapper.sh tmp && cp wrapper.sh ../far",
    );
    let home = std::env::var("HOME").unwrap();
    let of = |name: &str, usual: &str| std::env::var(name).unwrap_or(format!("{home}/{usual}"));
    let install = || {
        let call = place.call(&["plugin", "install", "crate:../far/mine", "--yes", "--offline"]);
        let call = call.env("CARGO_HOME", of("CARGO_HOME", ".cargo"));
        let call = call.env("RUSTUP_HOME", of("RUSTUP_HOME", ".rustup"));
        // Whatever rustup is asked, it is to change nothing.
        let call = call.env("RUSTUP_AUTO_INSTALL", "0");
        call.env("TMPDIR", place.project().join("tmp")).end()
    };
    let told = install().exits(0).stderr();
    let _ = place.polyloom(&["plugin", "outdated"]).exits(4);
    place.write("../far/mine/src/main.rs", "fn main() { }\n");
    let outdated = place.polyloom(&["plugin", "outdated"]).exits(0).stdout();
    assert!(outdated.contains("has changed"), "{outdated}");
    assert!(
        !mark.exists(),
        "cargo obeyed the folder that it was started in, or one above the crate"
    );
    assert!(told.contains("2 files"), "its program and its manifest: {told}");
    sh(&place, "echo 'secret = 1' >secret && ln -s $PWD/secret ../far/mine/conformance.toml");
    let told = install().exits(2).stderr();
    assert!(told.contains("conformance.toml` can't be used: it is no regular file"), "{told}");
    sh(
        &place,
        "cd ../far/mine && rm conformance.toml && mv executor.toml ../it.toml && ln -s ../it.toml executor.toml",
    );
    let told = install().exits(2).stderr();
    assert!(told.contains("executor.toml` can't be used: it is no regular file"), "{told}");
    sh(
        &place,
        "cd ../far/mine && rm executor.toml && mkdir ../plugin && mv ../it.toml ../plugin/executor.toml && ln -s ../plugin plugin",
    );
    let told = install().exits(2).stderr();
    assert!(told.contains("executor.toml` can't be used: the path leads outside"), "{told}");
}

/// Waits at the question of a terminal, and types Ctrl-C there.
const AT_THE_QUESTION: &str = r#"
import os, pty, sys
pid, screen = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
while b"[y/N]" not in said:
    said += os.read(screen, 4096)
print(len(os.listdir(os.environ["TMPDIR"])), flush=True)
os.write(screen, b"\x03")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn an_interrupted_question_leaves_no_folder() {
    needs!("git", "python3", "tar");
    let place = Place::new();
    let _ = place.polyloom(&["plugin", "new", "mine"]).exits(0);
    sh(
        &place,
        "cd mine && git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm one && tar -cf ../mine.tar . && mkdir ../tmp",
    );
    let tmp = place.project().join("tmp");
    for source in ["git+./mine", "mine.tar"] {
        let through = ["python3", "-c", AT_THE_QUESTION];
        let call = place.call_through(&through, &["plugin", "install", source]);
        let ended = call.env("TMPDIR", &tmp).end().exits(130);
        assert_eq!(ended.stdout(), "1\n", "{source}: a folder for what was fetched is there");
        assert_eq!(tmp.read_dir().unwrap().count(), 0, "{source}: {}", ended.stderr());
        let copies = place.root().join("home/.local/share/polyloom/plugins/copies");
        assert_eq!(copies.read_dir().unwrap().count(), 0, "{source}: what was asked about");
    }
}

/// A tool that is at work is told to end by the same Ctrl-C.
#[test]
fn an_interrupted_build_leaves_no_folder() {
    let place = Place::new();
    let tmp = place.project().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    place.write("bin/npm", "#!/bin/sh\necho at work > \"$PWD/begun\"\nsleep 60\n");
    sh(&place, "chmod +x bin/npm");
    let path =
        format!("{}:{}", place.project().join("bin").display(), std::env::var("PATH").unwrap());
    let call = place.call(&["plugin", "install", "npm:mine", "--yes"]);
    let running = call.env("TMPDIR", &tmp).env("PATH", path).start();
    let begun = || tmp.read_dir().unwrap().flatten().any(|it| it.path().join("begun").exists());
    while !begun() {
        std::thread::yield_now();
    }
    let group = Pid::from_raw(i32::try_from(running.pid()).unwrap()).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    let _ = running.end().exits(130);
    assert_eq!(tmp.read_dir().unwrap().count(), 0);
}
