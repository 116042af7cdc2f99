//! Cells in languages without a reader of their own: texts, JSON and files go through as they are.

use std::fmt::Write as _;

use crate::cases::{CASES, Case, Plain};

/// The file among the inputs that is copied, relative to `$IN`.
fn file(case: &Case, extension: &str) -> String {
    let dot = if extension.is_empty() { "" } else { "." };
    format!("i_{}{dot}{extension}", case.name)
}

/// The name of the output file: encoded forms and pictures need their extension, texts have none.
fn target(case: &Case, extension: &str) -> String {
    match extension {
        "" | "txt" | "bin" => case.name.to_owned(),
        _ => format!("{}.{extension}", case.name),
    }
}

/// A program from one statement for each way: text from the variable, a copied file, a copied folder.
fn program(
    text: impl Fn(&Case) -> String,
    copied: impl Fn(&str, &str) -> String,
    folder: impl Fn(&Case) -> String,
) -> String {
    let mut code = String::new();
    for case in CASES {
        let statement = match case.plain {
            Plain::Text | Plain::Json => text(case),
            Plain::Twin(extension) | Plain::File(extension) => {
                copied(&file(case, extension), &target(case, extension))
            }
            Plain::Folder => folder(case),
        };
        let _ = writeln!(code, "{statement}");
    }
    code
}

pub fn shell() -> String {
    let code = program(
        |case| format!("printf '%s\\n' \"$i_{0}\" > \"$OUT/{0}\"", case.name),
        |from, to| format!("cp \"$IN/{from}\" \"$OUT/{to}\""),
        |case| format!("cp -r \"$IN/i_{0}\" \"$OUT/{0}\"", case.name),
    );
    format!("set -e\n{code}")
}

pub fn awk() -> String {
    let code = program(
        |case| format!("  print ENVIRON[\"i_{0}\"] > (out \"/{0}\")", case.name),
        |from, to| format!("  run(\"cp /cell/in/{from} \" out \"/{to}\")"),
        |case| format!("  run(\"cp -r /cell/in/i_{0} \" out \"/{0}\")", case.name),
    );
    format!(
        "function run(command) {{ if (system(command) != 0) exit 1 }}\nBEGIN {{\n  out = ENVIRON[\"OUT\"]\n{code}}}\n"
    )
}

pub fn perl() -> String {
    let code = program(
        |case| format!("put('{0}', $ENV{{i_{0}}} . \"\\n\");", case.name),
        |from, to| format!("copy(\"$ENV{{IN}}/{from}\", \"$ENV{{OUT}}/{to}\") or die;"),
        |case| {
            format!(
                "system('cp', '-r', \"$ENV{{IN}}/i_{0}\", \"$ENV{{OUT}}/{0}\") == 0 or die;",
                case.name
            )
        },
    );
    format!(
        "use strict;\nuse warnings;\nuse File::Copy;\n\
         sub put {{ my ($name, $text) = @_; open my $f, '>:raw', \"$ENV{{OUT}}/$name\" or die; print $f $text; close $f; }}\n{code}"
    )
}

pub fn tcl() -> String {
    let code = program(
        |case| format!("put {0} $env(i_{0})", case.name),
        |from, to| format!("file copy $env(IN)/{from} $env(OUT)/{to}"),
        |case| format!("file copy $env(IN)/i_{0} $env(OUT)/{0}", case.name),
    );
    format!(
        "proc put {{name text}} {{\n  global env\n  set f [open $env(OUT)/$name w]\n  \
         fconfigure $f -encoding utf-8 -translation lf\n  puts $f $text\n  close $f\n}}\n{code}"
    )
}

pub fn java() -> String {
    let code = program(
        |case| {
            format!(
                "    Files.writeString(out.resolve(\"{0}\"), System.getenv(\"i_{0}\") + \"\\n\");",
                case.name
            )
        },
        |from, to| format!("    Files.copy(in.resolve(\"{from}\"), out.resolve(\"{to}\"));"),
        |case| format!("    tree(in.resolve(\"i_{0}\"), out.resolve(\"{0}\"));", case.name),
    );
    format!(
        "import java.nio.file.*;\n\nclass Pass {{\n  static void tree(Path from, Path to) throws Exception {{\n    \
         try (var paths = Files.walk(from)) {{\n      for (Path path : (Iterable<Path>) paths::iterator)\n        \
         if (Files.isDirectory(path)) Files.createDirectories(to.resolve(from.relativize(path).toString()));\n        \
         else Files.copy(path, to.resolve(from.relativize(path).toString()));\n    }}\n  }}\n\n  \
         public static void main(String[] args) throws Exception {{\n    \
         Path in = Path.of(System.getenv(\"IN\")), out = Path.of(System.getenv(\"OUT\"));\n{code}  }}\n}}\n"
    )
}

/// Numbers are copied as their text, which SQLite would round.
pub fn sqlite() -> String {
    let copied = |from: &str, to: &str| {
        format!("select writefile('/cell/out/{to}', readfile('/cell/in/{from}'));")
    };
    program(
        |case| match case.ty {
            "float" => copied(&file(case, "txt"), case.name),
            "null" => {
                format!("select writefile('/cell/out/{0}', coalesce(@i_{0}, ''));", case.name)
            }
            "bool" => format!(
                "select writefile('/cell/out/{0}', iif(@i_{0}, 'true', 'false'));",
                case.name
            ),
            _ => format!("select writefile('/cell/out/{0}', @i_{0} || char(10));", case.name),
        },
        copied,
        |case| {
            format!(
                "select writefile('/cell/out/{0}' || substr(name, length('/cell/in/i_{0}') + 1), data, mode) \
                 from fsdir('/cell/in/i_{0}');",
                case.name
            )
        },
    )
}

/// Pairs of paths below `/in` and `/out`; an empty first one makes the second a folder.
pub fn wasm_arguments() -> Vec<String> {
    let mut pairs = Vec::new();
    let mut add = |from: String, to: String| pairs.extend([from, to]);
    for case in CASES {
        match case.plain {
            Plain::Text => add(file(case, "txt"), case.name.to_owned()),
            Plain::Json => add(file(case, "json"), case.name.to_owned()),
            Plain::Twin(extension) | Plain::File(extension) => {
                add(file(case, extension), target(case, extension));
            }
            Plain::Folder => {
                for folder in ["", "/sub", "/sub/empty"] {
                    add(String::new(), format!("{}{folder}", case.name));
                }
                for path in ["one.txt", "sub/é.bin", "sub/zero"] {
                    add(format!("i_{}/{path}", case.name), format!("{}/{path}", case.name));
                }
            }
        }
    }
    pairs
}

/// Copies files as its arguments say.
pub const WASM: &str = include_str!("copy.wat");
