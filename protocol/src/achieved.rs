//! What a sandbox achieved, as a result tells it. It is the same for cell after cell, so that it is held once and put into words once.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::meta::Enforcement;

/// What was achieved, mechanism by mechanism. A clone is the same list.
#[derive(Debug, Clone, Default)]
pub struct Achieved(Option<Arc<List>>);

#[derive(Debug)]
struct List {
    rows: Vec<Enforcement>,
    /// The rows as JSON, once somebody has asked for that.
    json: OnceLock<Option<Box<RawValue>>>,
}

impl From<Vec<Enforcement>> for Achieved {
    fn from(rows: Vec<Enforcement>) -> Self {
        Self(Some(Arc::new(List { rows, json: OnceLock::new() })))
    }
}

impl Deref for Achieved {
    type Target = [Enforcement];
    fn deref(&self) -> &Self::Target {
        self.0.as_ref().map_or(&[], |list| &list.rows)
    }
}

impl PartialEq for Achieved {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Serialize for Achieved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What is read by people is JSON here.
        let list = self.0.as_ref().filter(|_| serializer.is_human_readable());
        let json =
            list.and_then(|list| list.json.get_or_init(|| to_raw_value(&list.rows).ok()).as_ref());
        match json {
            Some(json) => json.serialize(serializer),
            None => self.deref().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Achieved {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Achieved {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Achieved".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<Enforcement>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Level;

    #[test]
    fn it_is_a_list_in_every_form() {
        let row = |mechanism: &str| Enforcement {
            mechanism: mechanism.to_owned(),
            level: Level::Full,
            detail: "a \"word\"\n".to_owned(),
        };
        for rows in [vec![], vec![row("landlock"), row("seccomp")]] {
            let achieved = Achieved::from(rows.clone());
            for _ in 0..2 {
                let json = serde_json::to_string(&achieved).unwrap();
                assert_eq!(json, serde_json::to_string(&rows).unwrap());
                assert_eq!(serde_json::from_str::<Achieved>(&json).unwrap(), achieved);
            }
            assert_eq!(
                serde_json::to_value(&achieved).unwrap(),
                serde_json::to_value(&rows).unwrap()
            );
            let bytes = rmp_serde::to_vec(&achieved).unwrap();
            assert_eq!(bytes, rmp_serde::to_vec(&rows).unwrap());
            assert_eq!(rmp_serde::from_slice::<Achieved>(&bytes).unwrap(), achieved);
        }
        assert!(Achieved::default().is_empty());
    }
}
