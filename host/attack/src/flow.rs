//! From cases to the flow that runs them. Knows the JSON form of a flow; does not know what the cells do.

use serde_json::{Value, json};

use crate::{Canaries, Case};

/// `answer("what", system_call(…))` says how a call was answered: by the name of an error, or that it was let through.
const C: &str = r#"#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
static void answer(const char *what, long result) {
  if (result == -1) printf("%s: %s\n", what, strerrorname_np(errno));
  else printf("%s: LET THROUGH, %ld\n", what, result);
  fflush(stdout);
}
"#;

/// `attempt("what", lambda: …)` does the same.
const PYTHON: &str = r#"import errno, os, socket, sys, time

def attempt(what, act):
    try:
        result = act()
    except OSError as error:
        print(f"{what}: {errno.errorcode.get(error.errno, error.errno)}", flush=True)
    except Exception as error:
        print(f"{what}: {type(error).__name__}", flush=True)
    else:
        print(f"{what}: LET THROUGH, {result!r}", flush=True)
"#;

/// `attempt COMMAND…` says whether a command was refused.
const SHELL: &str = r#"attempt() {
  if "$@" > /dev/null 2>&1; then echo "LET THROUGH: $*"; else echo "refused: $*"; fi
}
"#;

/// A flow with a cell for each case, the canaries' places filled in. Limits are small, so that what goes wrong stays small.
#[must_use]
pub fn flow_of(cases: &[&Case], canaries: &Canaries) -> String {
    let mut cells = serde_json::Map::new();
    for case in cases {
        let mut cell = serde_json::Map::new();
        cell.insert("lang".to_owned(), json!(case.lang));
        for (key, value) in &case.keys {
            cell.insert(key.clone(), filled(value, canaries));
        }
        if !case.code.is_empty() {
            cell.insert("code".to_owned(), json!(code_of(case, canaries)));
        }
        cells.insert(case.cell(), Value::Object(cell));
    }
    let flow = json!({
        "flow": { "name": "attacks" },
        "defaults": {
            "timeout": "20s", "memory": "256MiB", "pids": 64, "disk": "64MiB", "output_limit": "4MiB",
        },
        "cells": cells,
    });
    flow.to_string()
}

fn code_of(case: &Case, canaries: &Canaries) -> String {
    let code = case.code.replace("@C@\n", C).replace("@PY@\n", PYTHON).replace("@SH@\n", SHELL);
    canaries.fill(&code)
}

fn filled(value: &toml::Value, canaries: &Canaries) -> Value {
    match value {
        toml::Value::String(text) => json!(canaries.fill(text)),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(truth) => json!(truth),
        // The flow would refuse it: texts are how dates are written there.
        toml::Value::Datetime(date) => json!(date.to_string()),
        toml::Value::Array(items) => items.iter().map(|item| filled(item, canaries)).collect(),
        toml::Value::Table(table) => Value::Object(
            table.iter().map(|(key, value)| (key.clone(), filled(value, canaries))).collect(),
        ),
    }
}
