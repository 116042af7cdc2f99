//! Lists the files that the binary carries: the manifests beside this file and the SDK's trees. A new language or a new
//! SDK file needs no edit here or anywhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The SDK's trees, and the extensions of the files in them that cells need.
const SDK: &[(&str, &[&str])] =
    &[("c", &["h"]), ("java", &["java"]), ("javascript", &["js", "mjs"]), ("python", &["py"])];

/// Folders that are about the SDK and not of it, or are made.
const LEFT_OUT: &[&str] = &["__pycache__", "examples", "node_modules", "target", "test", "tests"];

/// Files of an example that make a new plugin, by extension; what is built has others.
const TEMPLATE: &[&str] = &["c", "h", "mjs", "py", "rs", "sh", "toml"];
/// What a new plugin in Rust brings along, since it is built where this repository is not: crate and folder.
const VENDORED: &[(&str, &str)] =
    &[("polyloom-protocol", "protocol"), ("polyloom-sdk", "sdk/rust")];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let sdk = here.parent().expect("the workspace is above").join("sdk");

    let mut manifests = Vec::new();
    let mut conformance = Vec::new();
    println!("cargo::rerun-if-changed={}", here.display());
    for folder in entries(&here)? {
        let path = folder.join("executor.toml");
        if path.is_file() {
            manifests.push((name(&folder) + "/executor.toml", path));
        }
        // Kernels of Jupyter are of many languages: `conformance.LANGUAGE.toml`.
        let all = if folder.is_dir() { entries(&folder)? } else { Vec::new() };
        for path in all {
            let file = name(&path);
            if file.starts_with("conformance.") && file.ends_with(".toml") {
                conformance.push((format!("{}/{file}", name(&folder)), path));
            }
        }
    }

    let mut files = Vec::new();
    for (tree, extensions) in SDK {
        println!("cargo::rerun-if-changed={}", sdk.join(tree).display());
        collect(&sdk.join(tree), tree, extensions, &mut files)?;
    }

    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    let mut templates = Vec::new();
    let root = sdk.parent().expect("the SDK is in the workspace");
    let examples = root.join("examples/plugins");
    println!("cargo::rerun-if-changed={}", examples.display());
    for folder in entries(&examples)? {
        let Some(language) = name(&folder).strip_prefix("say-").map(str::to_owned) else {
            continue;
        };
        collect(&folder, &language, TEMPLATE, &mut templates)?;
        let makefile = folder.join("Makefile");
        if makefile.is_file() {
            templates.push((format!("{language}/Makefile"), makefile));
        }
    }
    templates.push(("c/polyloom_plugin.h".to_owned(), sdk.join("c/polyloom_plugin.h")));
    for (name, folder) in VENDORED {
        let at = format!("rust/vendor/{name}");
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        collect(&root.join(folder).join("src"), &format!("{at}/src"), &["rs"], &mut templates)?;
        let manifest = out.join(format!("{name}.toml"));
        fs::write(&manifest, alone(root, folder)?)?;
        templates.push((format!("{at}/Cargo.toml"), manifest));
    }

    let mut code = String::new();
    list(&mut code, "TEMPLATES", &templates);
    list(&mut code, "MANIFESTS", &manifests);
    list(&mut code, "CONFORMANCE", &conformance);
    list(&mut code, "SDK", &files);
    let _ = writeln!(code, "const SDK_DIGEST: &str = \"{:032x}\";", digest(&files)?);
    fs::write(out.join("embedded.rs"), code)
}

/// The manifest of a crate of ours as it is outside of the workspace: what it has from there is written out, what tests need is left out.
fn alone(root: &Path, folder: &str) -> io::Result<String> {
    let workspace = root.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", workspace.display());
    let workspace = fs::read_to_string(workspace)?;
    let inherited = |section: &str, key: &str| {
        let (_, after) =
            workspace.split_once(&format!("[workspace.{section}]\n")).expect("there is one");
        let start = format!("{key} = ");
        let found = after
            .lines()
            .take_while(|line| !line.starts_with('['))
            .find(|line| line.starts_with(&start));
        found.unwrap_or_else(|| panic!("the workspace has {key}")).to_owned()
    };
    let mut text = String::new();
    let mut section = "";
    for line in fs::read_to_string(root.join(folder).join("Cargo.toml"))?.lines() {
        section = match line {
            "[package]" => "package",
            "[dependencies]" => "dependencies",
            "[features]" => "features",
            _ if line.starts_with('[') => "",
            _ => section,
        };
        let line = match line.strip_suffix(".workspace = true") {
            Some(key) if section == "dependencies" && key.starts_with("polyloom-") => {
                format!("{key} = {{ path = \"../{key}\" }}")
            }
            Some(key) if !section.is_empty() => inherited(section, key),
            _ => match line.split_once(" = { workspace = true, optional = true }") {
                Some((key, _)) => {
                    let version = inherited(section, key);
                    let version = version.split_once('"').expect("a version").1;
                    format!("{key} = {{ version = \"{version}, optional = true }}")
                }
                None => line.to_owned(),
            },
        };
        if !section.is_empty() {
            let _ = writeln!(text, "{line}");
        }
    }
    // Where `unsafe` is expected, it has to be looked for.
    text.push_str("[lints.rust]\nunsafe_code = \"deny\"\n");
    Ok(text)
}

/// The entries of a folder, sorted; none when it is not there.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("names in the repository are UTF-8")
        .to_owned()
}

fn collect(
    folder: &Path,
    at: &str,
    extensions: &[&str],
    files: &mut Vec<(String, PathBuf)>,
) -> io::Result<()> {
    for path in entries(folder)? {
        let name = name(&path);
        let at = format!("{at}/{name}");
        if path.is_dir() {
            if !LEFT_OUT.contains(&name.as_str()) && !name.starts_with('.') {
                collect(&path, &at, extensions, files)?;
            }
        } else if path.extension().is_some_and(|ext| extensions.iter().any(|known| ext == *known)) {
            files.push((at, path));
        }
    }
    Ok(())
}

fn list(code: &mut String, constant: &str, files: &[(String, PathBuf)]) {
    let _ = writeln!(code, "const {constant}: &[Embedded] = &[");
    for (path, file) in files {
        let _ =
            writeln!(code, "    Embedded {{ path: {path:?}, bytes: include_bytes!({file:?}) }},");
    }
    code.push_str("];\n");
}

/// FNV-1a of 128 bits over every path and content with their lengths. It tells versions of our own files apart; nobody
/// gains by forging it.
fn digest(files: &[(String, PathBuf)]) -> io::Result<u128> {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let mut add = |bytes: &[u8]| {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in length.iter().chain(bytes) {
            hash =
                (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    };
    for (path, file) in files {
        add(path.as_bytes());
        add(&fs::read(file)?);
    }
    Ok(hash)
}
