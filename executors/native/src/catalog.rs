//! The text by which a library says what it offers, as entries. Knows no library and no pointer.

use std::collections::BTreeMap;
use std::error::Error;

use polyloom_sdk::Value;

/// Longest text in bytes.
pub const MOST: usize = 1 << 20;

/// Reads a text; what is wrong with it is said in words that follow its name.
pub fn read(text: &[u8]) -> Result<Vec<BTreeMap<String, Value>>, String> {
    if text.len() > MOST {
        return Err(format!("has over {MOST} bytes"));
    }
    let text = str::from_utf8(text).map_err(|error| format!("is not UTF-8: {error}"))?;
    let value = Value::from_json(text).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        // It may quote the text.
        format!("is {error}{cause}").chars().take(300).collect::<String>()
    })?;
    let Value::List(items) = value else {
        return Err("is no array of objects".to_owned());
    };
    let entries = items.into_iter().enumerate().map(|(at, item)| match item {
        Value::Map(entry) => Ok(entry),
        _ => Err(format!("is no array of objects: entry {at} is none")),
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_entries() {
        assert_eq!(read(b" [] "), Ok(Vec::new()));
        let entries = read(br#"[{"name":"say","takes":["str",null]},{}]"#);
        let takes = Value::List(vec![Value::from("str".to_owned()), Value::Null]);
        let say = [("name".to_owned(), Value::from("say".to_owned())), ("takes".to_owned(), takes)];
        assert_eq!(entries, Ok(vec![say.into(), BTreeMap::new()]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let deep = [&b"["[..]; 4096].concat();
        let quoted = format!("[{{\"{0}\":1,\"{0}\":2}}]", "k".repeat(4096));
        let many = [&b"["[..], &b"0,".repeat(MOST / 2), b"0]"].concat();
        for (text, words) in [
            (&b""[..], "is not the JSON form of a value: EOF"),
            (b"{\"name\":\"say\"}", "is no array of objects"),
            (b"[{},7]", "is no array of objects: entry 1 is none"),
            (b"[{\"a\":1,\"a\":2}]", "is not the JSON form of a value: "),
            (
                b"[{\"a\":9223372036854775808}]",
                "is not the JSON form of a value: integer 9223372036854775808 does not fit",
            ),
            (quoted.as_bytes(), "is not the JSON form of a value: "),
            (b"[\xff]", "is not UTF-8: invalid utf-8"),
            (&deep, "is not the JSON form of a value: recursion limit exceeded"),
            (&many, "has over 1048576 bytes"),
        ] {
            let said = read(text).expect_err(words);
            assert!(said.starts_with(words) && said.len() <= 300, "{said}");
        }
    }
}
