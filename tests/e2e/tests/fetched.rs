//! `plugin install` of what other tools fetch or build: crates, npm packages, repositories.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use polyloom_test_e2e::{Place, needs};

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
    for (source, said) in [
        ("git+./mine@nowhere", "reading the repository failed"),
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
