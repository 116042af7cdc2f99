//! Real toolchains under the default policy: programs that use threads, processes, pipes, shared memory and large libraries run unchanged.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::PathBuf;
use std::process::Command;

use polyloom_test_e2e::{Place, libraries, needs};

/// Runs one cell of a flow that has more `head`; what it printed.
#[track_caller]
fn printed(head: &str, lang: &str, code: &str) -> String {
    let place = Place::flow(&format!(
        "{head}\n[cells.a]\nlang = \"{lang}\"\ntimeout = \"120s\"\ncode = '''\n{code}\n'''\n"
    ));
    printed_in(&place)
}

#[track_caller]
fn printed_in(place: &Place) -> String {
    let run = place.run(&[]);
    assert_eq!(run.outcome("a"), "ok", "{}", run.stderr);
    for mechanism in ["namespaces", "files", "network", "privileges", "seccomp"] {
        assert_eq!(run.level("a", mechanism), "full", "{mechanism}");
    }
    place.polyloom(&["logs", "latest", "a"]).exits(0).stdout()
}

#[track_caller]
fn says(told: &str, wanted: &str) {
    let lines: Vec<&str> = told.lines().map(|line| line.trim_start_matches("a │ ")).collect();
    assert_eq!(lines.join("\n").trim(), wanted.trim(), "{told}");
}

const C: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
static void *twice(void *n) { *(int *)n *= 2; return n; }
int main(void) {
    int n = 21, status, fds[2];
    pthread_t thread;
    if (pthread_create(&thread, NULL, twice, &n) || pthread_join(thread, NULL)) return 1;
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || pipe(fds)) return 2;
    if (fork() == 0) { *shared = n; write(fds[1], "x", 1); _exit(3); }
    char byte;
    if (read(fds[0], &byte, 1) != 1 || wait(&status) < 0) return 4;
    printf("%d %d\n", *shared, WEXITSTATUS(status));
    return 0;
}
"#;

const CPP: &str = r#"
#include <fstream>
#include <future>
#include <iostream>
#include <regex>
#include <stdexcept>
#include <sys/stat.h>
int main() {
    auto half = std::async(std::launch::async, [] { return 21; });
    try { throw std::runtime_error("thrown"); }
    catch (const std::exception &e) { std::cout << e.what() << ' ' << 2 * half.get() << '\n'; }
    mkdir("a", 0755);
    std::ofstream("a/c") << "text";
    std::cout << std::ifstream("a/c", std::ios::ate).tellg() << std::regex_match("x1", std::regex("x[0-9]"))
              << std::endl;
}
"#;

#[test]
fn gcc() {
    needs!("gcc");
    says(&printed("[executors.c]\ncc = \"gcc\"", "c", C), "42 3");
}

#[test]
fn gxx() {
    needs!("g++");
    says(&printed("[executors.cpp]\ncxx = \"g++\"", "cpp", CPP), "thrown 42\n41");
}

#[test]
fn clang() {
    needs!("clang");
    says(&printed("[executors.c]\ncc = \"clang\"", "c", C), "42 3");
}

#[test]
fn clangxx() {
    needs!("clang++");
    says(&printed("[executors.cpp]\ncxx = \"clang++\"", "cpp", CPP), "thrown 42\n41");
}

#[test]
fn rustc() {
    needs!("rustc", "cc");
    // What is on PATH may only be the installer's stand-in, which looks for its own folder in the home.
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let rustc = sysroot.join("bin/rustc");
    let place = Place::flow(&format!(
        "[executors.rust]\nrustc = \"{}\"\n[cells.a]\nlang = \"rust\"\ncode = '''{}'''\n",
        rustc.display(),
        r#"
use std::{collections::BTreeMap, fs, process::Command, sync::mpsc, thread};
fn main() {
    let (send, receive) = mpsc::channel();
    for n in 0..8 {
        let send = send.clone();
        thread::spawn(move || send.send((n, n * n)).unwrap());
    }
    drop(send);
    let squares: BTreeMap<i32, i32> = receive.iter().collect();
    fs::write("x", format!("{}", squares.values().sum::<i32>())).unwrap();
    let said = Command::new("cat").arg("x").output().unwrap();
    println!("{}", String::from_utf8(said.stdout).unwrap());
}
"#
    ));
    place.executor(
        "rust",
        "id = \"rust\"\nversion = \"1\"\nkind = \"command\"\nextensions = [\"rs\"]\n\
         [toolchain.rustc]\nany = [\"rustc\"]\n\
         [compile]\nargv = [\"{rustc}\", \"-O\", \"{code}\", \"-o\", \"{program}\"]\n\
         [run]\nargv = [\"{program}\", \"{args}\"]\n",
    );
    says(&printed_in(&place), "140");
}

#[test]
fn node() {
    needs!("node");
    let code = r#"
import { Worker } from "node:worker_threads";
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
const answer = await new Promise((resolve, reject) => {
  const worker = new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true });
  worker.on("message", resolve).on("error", reject);
});
const folder = mkdtempSync(tmpdir() + "/t-");
writeFileSync(folder + "/f", randomBytes(16).length.toString());
const piped = await new Promise((resolve) => {
  const child = spawn("cat");
  let text = "";
  child.stdout.on("data", (data) => (text += data)).on("end", () => resolve(text));
  child.stdin.end("piped");
});
console.log(answer, readFileSync(folder + "/f", "utf8"), piped, execFileSync("echo", ["run"]).toString().trim(),
  createHash("sha256").update("").digest("hex").slice(0, 8));
"#;
    says(&printed("", "javascript", code), "42 16 piped run e3b0c442");
}

#[test]
fn java() {
    needs!("java", "javac");
    let code = r#"
import java.nio.file.*;
import java.util.concurrent.*;
import java.util.stream.*;
public class Main {
    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        Future<Integer> answer = pool.submit(() -> IntStream.rangeClosed(1, 9).parallel().sum());
        Path file = Files.writeString(Files.createTempFile("a", "b"), "text");
        Process echo = new ProcessBuilder("echo", "run").start();
        String said = new String(echo.getInputStream().readAllBytes()).trim();
        System.out.println(answer.get() + " " + Files.size(file) + " " + said + " " + echo.waitFor());
        pool.shutdown();
        System.gc();
    }
}
"#;
    says(&printed("", "java", code), "45 4 run 0");
}

/// A script of its own, so that starting its helpers anew works as it does anywhere.
const MULTIPROCESSING: &str = r#"
import subprocess, sys
open("m.py", "w").write('''
import multiprocessing as mp
from multiprocessing import shared_memory
def square(n): return n * n
def feed(queue, lock, value):
    with lock: value.value += 1
    queue.put("fed")
if __name__ == "__main__":
    for method in ["fork", "spawn", "forkserver"]:
        context = mp.get_context(method)
        with context.Pool(3) as pool: squares = pool.map(square, range(5))
        queue, lock, value = context.Queue(), context.Lock(), context.Value("i", 0)
        children = [context.Process(target=feed, args=(queue, lock, value)) for _ in range(2)]
        for child in children: child.start()
        fed = [queue.get(timeout=30) for _ in children]
        for child in children: child.join()
        with context.Manager() as manager: shared = sorted(manager.dict(a=1).items())
        print(method, squares, fed, value.value, shared)
    memory = shared_memory.SharedMemory(create=True, size=1 << 20)
    memory.buf[:3] = b"abc"
    again = shared_memory.SharedMemory(name=memory.name)
    print(bytes(again.buf[:3]))
    again.close(); memory.close(); memory.unlink()
''')
sys.stdout.write(subprocess.run([sys.executable, "m.py"], check=True, capture_output=True, text=True).stdout)
"#;

#[test]
fn python_multiprocessing() {
    needs!("python3");
    let wanted: String = ["fork", "spawn", "forkserver"]
        .map(|method| format!("{method} [0, 1, 4, 9, 16] ['fed', 'fed'] 2 [('a', 1)]\n"))
        .concat();
    let place = Place::flow("[cells.a]\nlang = \"python\"\nfile = \"a.py\"\n");
    place.write("a.py", MULTIPROCESSING);
    says(&printed_in(&place), &format!("{wanted}b'abc'"));
}

#[test]
fn python_with_numpy() {
    let Some(venv) = libraries() else { return };
    let python = venv.join("bin/python");
    let code = r#"
import os, numpy as np
a = np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000)
b = a @ a.T
mapped = np.memmap("m.dat", dtype=np.int32, mode="w+", shape=(1000,))
mapped[:] = 7
mapped.flush()
np.save("a.npy", a)
print(b.shape, int(np.load("a.npy", mmap_mode="r")[-1, -1]), int(np.fromfile("m.dat", dtype=np.int32).sum()),
      round(float(np.linalg.det(np.eye(64) * 2) ** (1 / 64)), 6), np.random.default_rng(1).integers(10) < 10)
"#;
    let head = format!("[executors.python]\npython = \"{}\"", python.display());
    says(&printed(&head, "python", code), "(1000, 1000) 999999 7000 2.0 True");
}

#[test]
fn perl() {
    needs!("perl");
    let code = r#"
use strict; use warnings; use File::Temp qw(tempfile); use POSIX qw(:sys_wait_h); use IO::Socket::UNIX;
my ($handle, $name) = tempfile(); print $handle "text"; close $handle;
open(my $pipe, '-|', 'echo', 'piped') or die; chomp(my $said = <$pipe>); close $pipe;
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die;
my $pid = fork // die;
if (!$pid) { syswrite($b, "from the child"); exit 5 }
sysread($a, my $text, 100); waitpid($pid, 0);
print -s $name, " $said $text ", $? >> 8, "\n";
"#;
    says(&printed("", "perl", code), "4 piped from the child 5");
}

#[test]
fn tcl() {
    needs!("tclsh");
    let code = r#"
set pipe [open "|cat" r+]
puts $pipe piped
flush $pipe
gets $pipe line
close $pipe
set file [open x w]
puts -nonewline $file text
close $file
after 10 {set done 1}
vwait done
puts "$line [file size x] [exec echo run] [clock format 0 -gmt 1 -format %Y]"
"#;
    says(&printed("", "tcl", code), "piped 4 run 1970");
}

#[test]
fn sqlite() {
    needs!("sqlite3");
    let code = r#"
attach 'x.db' as x;
pragma x.journal_mode = wal;
create table x.t (n integer primary key, s text);
with recursive c(n) as (select 1 union all select n + 1 from c where n < 1000) insert into x.t select n, hex(randomblob(8)) from c;
create index x.i on t (s);
select count(*), max(n) from x.t;
"#;
    says(&printed("", "sqlite", code), "wal\n1000|1000");
}

#[test]
fn bash() {
    needs!("bash", "sort", "seq");
    let code = r#"
diff <(seq 3) <(printf '1\n2\n3\n') && echo same
exec 5> >(sort -r > sorted); pid=$!; printf '1\n2\n' >&5; exec 5>&-; wait "$pid"; tr '\n' ' ' < sorted; echo
coproc up { tr a-z A-Z; }; echo loud >&"${up[1]}"; eval "exec ${up[1]}>&-"; read -r word <&"${up[0]}"; echo "$word"
cat <<< "$(mktemp -d | cut -c1-5)"; (exit 3) | cat; echo "${PIPESTATUS[0]}"; trap 'echo bye' EXIT
"#;
    says(&printed("", "shell", code), "same\n2 1 \nLOUD\n/tmp/\n3\nbye");
}
