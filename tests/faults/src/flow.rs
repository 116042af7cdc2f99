//! A flow of twenty cells that does a little of everything, and what each of them must give.

use std::fmt::Write as _;

/// How many cells it has.
pub const CELLS: u64 = 20;

/// The flow for one value of its param.
#[derive(Debug, Clone, Copy)]
pub struct Mixed {
    /// The param: other values give other results everywhere.
    pub n: u64,
}

/// Everything that ends in a number; `{i}` is the cell's place.
const SUM: &str = "$(( (n * 7 + {i} * 13 + a) % 50000 + 1000 ))";

/// Bytes of the large output.
const LARGE: usize = 300_000;

const C: &str = r#"#include <polyloom.h>
int main(void) {
  pl_out_int("x", (pl_in_int("n") * 7 + pl_in_int("i") * 13 + pl_in_int("a")) % 50000 + 1000);
  return 0;
}
"#;

impl Mixed {
    /// The name of a cell.
    #[must_use]
    pub fn name(cell: u64) -> String {
        let kind = match cell {
            5 => "large",
            6 => "tree",
            7 | 8 => "long",
            9 => "forks",
            10 => "daemon",
            11..=14 => "python",
            15 => "pyforks",
            16 => "pylong",
            17 | 18 => "c",
            _ => "plain",
        };
        format!("{kind}{cell}")
    }

    /// The whole file. `timeout` is each cell's, `mark` is in each cell's environment.
    #[must_use]
    pub fn text(timeout: &str, mark: &str) -> String {
        let mut text = "[params.n]\ntype = \"int\"\ndefault = 1\n".to_owned();
        for cell in 0..CELLS {
            let name = Self::name(cell);
            let before = Self::before(cell);
            let a = before.map_or("0".to_owned(), |b| format!("\"{}.x\"", Self::name(b)));
            let (lang, more, code) = Self::code(cell);
            let _ = write!(
                text,
                "[cells.{name}]\nlang = \"{lang}\"\ntimeout = \"{timeout}\"\nenv = {{ MARK = \"{mark}\" }}\n\
                 inputs = {{ n = \"param:n\", a = {a}, i = {cell} }}\noutputs = {{ x = \"int\"{more} }}\n\
                 code = '''\n{code}'''\n"
            );
        }
        text
    }

    /// A flow of one cell that has the same C program: once it has run, no other has to compile.
    #[must_use]
    pub fn compiling() -> String {
        format!(
            "[cells.c]\nlang = \"c\"\ninputs = {{ n = 1, i = 1, a = 1 }}\noutputs = {{ x = \"int\" }}\ncode = '''\n{C}'''\n"
        )
    }

    fn before(cell: u64) -> Option<u64> {
        cell.checked_sub(5)
    }

    fn code(cell: u64) -> (&'static str, &'static str, String) {
        let sum = SUM.replace("{i}", &cell.to_string());
        let python = "x = (n * 7 + i * 13 + a) % 50000 + 1000\n";
        let shell = |before: &str| format!("{before}echo {sum} > $OUT/x\n");
        match cell {
            5 => ("sh", ", big = \"file\"", shell("yes $n | head -c 300000 > $OUT/big\n")),
            6 => (
                "sh",
                ", all = \"dir\"",
                shell(
                    "mkdir $OUT/all; for f in 1 2 3 4 5 6 7 8 9; do yes $n$f | head -c 20000 > $OUT/all/$f; done\n",
                ),
            ),
            7 | 8 => ("sh", "", shell("echo begins; sleep 0.3\n")),
            9 => ("sh", "", shell("for f in 1 2 3 4 5; do sleep 7201 & done; sleep 0.1\n")),
            10 => (
                "sh",
                "",
                shell(
                    "(setsid sh -c 'trap \"\" TERM HUP INT; sleep 7202; sleep 7203' &); sleep 0.1\n",
                ),
            ),
            11..=14 => ("python", "", python.to_owned()),
            15 => (
                "python",
                "",
                format!(
                    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(7204)\ntime.sleep(0.1)\n{python}"
                ),
            ),
            16 => ("python", "", format!("import time\ntime.sleep(0.3)\n{python}")),
            17 | 18 => ("c", "", C.to_owned()),
            _ => ("sh", "", shell("")),
        }
    }

    /// The value of a cell's output `x`.
    #[must_use]
    pub fn value(&self, cell: u64) -> u64 {
        let before = Self::before(cell).map_or(0, |before| self.value(before));
        (self.n * 7 + cell * 13 + before) % 50_000 + 1000
    }

    /// The digest that an output must have, where it is known beforehand.
    #[must_use]
    pub fn digest(&self, cell: u64, port: &str) -> Option<String> {
        match port {
            "x" => Some(digest_of_int(self.value(cell))),
            "big" => Some(digest(&self.large())),
            _ => None,
        }
    }

    /// The bytes of the large output.
    #[must_use]
    pub fn large(&self) -> Vec<u8> {
        let line = format!("{}\n", self.n);
        line.bytes().cycle().take(LARGE).collect()
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("b3:{}", blake3::hash(bytes).to_hex())
}

/// The digest of an int output as it is stored: one MessagePack value in its shortest form.
#[must_use]
pub fn digest_of_int(value: u64) -> String {
    let short = u16::try_from(value).unwrap();
    let [high, low] = short.to_be_bytes();
    match short {
        0..=0x7f => digest(&[low]),
        0x80..=0xff => digest(&[0xcc, low]),
        _ => digest(&[0xcd, high, low]),
    }
}
