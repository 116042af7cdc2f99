//! What a cell asks for: lists of texts by kind. Whether it gets it is not asked here.

use std::collections::BTreeSet;

use polyloom_model::{Ask, Permission};

use crate::findings::Findings;
use crate::keys::ALLOW;
use crate::problem::Code;
use crate::tree::{Data, Node};

use super::env::{By, check_variable};

/// More are hardly meant, and a person has to read them.
const MOST: usize = 64;
/// Each port of one cell is a socket that waits.
const MOST_PORTS: usize = 16;

/// Reads the table `allow`.
pub(super) fn read(findings: &mut Findings, node: &Node) -> BTreeSet<Ask> {
    let mut asks = BTreeSet::new();
    let Some(map) = findings.table("allow", node) else { return asks };
    findings.known_keys(map, ALLOW, "`allow`");
    for kind in Permission::ALL {
        let Some(node) = map.get(kind.name()) else { continue };
        if let Data::Bool(true) = node.data {
            findings
                .wrong_kind(kind.name(), node, "a list of texts")
                .help("a cell says what it needs, one by one: whoever grants it has to know");
            continue;
        }
        if findings.texts(kind.name(), node).is_none() {
            continue;
        }
        let Data::List(items) = &node.data else { continue };
        for item in items {
            let Some(text) = item.as_str() else { continue };
            match Ask::parse(kind, text) {
                Ok(ask) => {
                    if let Ask::Env(name) = &ask {
                        check_variable(findings, name, &item.span, By::Flow);
                    }
                    asks.insert(ask);
                }
                Err(error) => {
                    findings.error(Code::BadValue, &item.span, error.to_string(), "");
                }
            }
        }
    }
    let ports: BTreeSet<u16> = asks
        .iter()
        .filter_map(|ask| match ask {
            Ask::Net(rule) => Some(rule.port),
            Ask::Read(_) | Ask::Write(_) | Ask::Env(_) | Ask::Run(_) => None,
        })
        .collect();
    if asks.len() > MOST || ports.len() > MOST_PORTS {
        let message = format!("`allow` asks for {} things on {} ports", asks.len(), ports.len());
        let help = format!("valid: at most {MOST}, and {MOST_PORTS} different ports");
        findings.error(Code::BadLimit, &node.span, message, "").help(help);
    }
    asks
}
