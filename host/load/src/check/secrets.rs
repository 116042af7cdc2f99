//! `secrets` of a cell: names of variables and handles. Reads no secret.

use std::collections::BTreeMap;

use polyloom_model::SecretHandle;

use super::Check;
use super::cell::Taken;
use super::env::{By, check_variable};
use crate::problem::Code;
use crate::tree::Map;

/// More secrets than any cell needs; each costs memory while the cell runs.
const MOST: usize = 32;

impl Check<'_, '_> {
    pub(super) fn secrets(
        &mut self,
        map: &Map,
        taken: &Taken<'_>,
    ) -> BTreeMap<String, SecretHandle> {
        let mut secrets = BTreeMap::new();
        let Some(node) = map.get("secrets") else { return secrets };
        let Some(table) = self.findings.table("secrets", node) else { return secrets };
        if table.entries.len() > MOST {
            let message = format!("a cell can have {MOST} secrets, not {}", table.entries.len());
            self.findings.error(Code::BadLimit, &node.span, message, "");
        }
        for entry in &table.entries {
            let (name, span) = (entry.key.text.as_str(), &entry.key.span);
            check_variable(&mut self.findings, name, span, By::Flow);
            if let Some((first, what)) = taken.get(name) {
                let message = format!("`{name}` is both {what} and a secret");
                self.findings
                    .error(Code::DoublyBound, span, message, "a secret")
                    .also(first, *what)
                    .help("programs see each as a variable of that name: rename one");
            }
            let Some(text) = self.findings.text(name, &entry.node) else { continue };
            match text.parse() {
                Ok(handle) => {
                    secrets.insert(name.to_owned(), handle);
                }
                Err(error) => {
                    // The value is not repeated: it may be the secret.
                    let message = format!("`{name}` of `secrets`: {error}");
                    self.findings
                        .error(Code::BadSecret, &entry.node.span, message, "")
                        .help("name the place where the secret is kept; it never stands in the flow file itself");
                }
            }
        }
        secrets
    }
}
