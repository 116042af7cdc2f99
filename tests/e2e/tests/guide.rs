//! "Add a language in ten minutes" in executors/README.md, followed to the letter.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;

use polyloom_test_e2e::{Place, needs};

/// A fenced block, and the line before it.
struct Block {
    info: String,
    before: String,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = String::new();
    for line in text.lines() {
        let inner = line.trim_start();
        match (&mut open, inner.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block {
                    info: info.to_owned(),
                    before: before.clone(),
                    lines: Vec::new(),
                });
            }
            (Some(_), Some(_)) => all.extend(open.take()),
            // Blocks are in a list: what they hold is three further to the right.
            (Some(block), None) => {
                block.lines.push(line.strip_prefix("   ").unwrap_or(line).to_owned())
            }
            (None, None) if !inner.is_empty() => inner.clone_into(&mut before),
            (None, None) => {}
        }
    }
    all
}

/// Whether the lines are printed in their order; `…` stands for any lines, and at a line's end for any words.
fn shows(printed: &str, wanted: &[String]) -> bool {
    let mut lines = printed.lines().map(str::trim_end);
    wanted.iter().filter(|line| line.trim() != "…").all(|line| {
        let fits = |printed: &str| match line.strip_suffix('…') {
            Some(beginning) => printed.starts_with(beginning.trim_end()),
            None => printed == line.trim_end(),
        };
        lines.any(fits)
    })
}

#[test]
fn a_stranger_adds_a_language_by_the_guide() {
    needs!("lua5.4");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../executors/README.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, guide) = guide.split_once("## Add a language in ten minutes\n").unwrap();
    let (guide, _) = guide.split_once("\n## ").unwrap();
    let place = Place::new();
    let (mut files, mut commands) = (0, 0);
    for block in blocks(guide) {
        if block.info == "toml" {
            let path = block.before.split('`').rfind(|part| part.ends_with(".toml")).unwrap();
            let earlier = match block.before.contains("At the end of") {
                true => place.read(path),
                false => String::new(),
            };
            place.write(path, earlier + &block.lines.join("\n") + "\n");
            files += 1;
            continue;
        }
        assert_eq!(block.info, "console");
        let mut lines = block.lines.iter().peekable();
        while let Some(command) = lines.next() {
            let words: Vec<&str> =
                command.strip_prefix("$ polyloom ").unwrap().split(' ').collect();
            let mut wanted = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                wanted.push(line.clone());
            }
            let ended = place.polyloom(&words);
            let printed = ended.stdout() + &ended.stderr();
            assert_eq!(ended.code() == 0, !command.contains("wrong"), "{command}\n{printed}");
            assert!(shows(&printed, &wanted), "{command}\nwanted {wanted:#?}\n{printed}");
            commands += 1;
        }
    }
    assert_eq!((files, commands), (5, 6));
}
