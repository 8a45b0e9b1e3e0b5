//! What others write into Secrets, ConfigMaps and optional fields. PURE.
//!
//! Empty is absent: issuers of certificates leave keys such as `ca.crt` empty, and the API server drops an empty optional
//! text. Nothing else in this crate decides whether a key is set.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The value of a key is not UTF-8 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

/// The text of a key of a Secret; `None` if the key is missing or its value empty.
pub fn secret_text(secret: &Value, key: &str) -> Option<Result<String, NotText>> {
    let encoded = text(secret.get("data")?.get(key))?;
    let bytes = STANDARD.decode(encoded).map_err(|_| NotText);
    Some(bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| NotText)))
}

/// The text of a key of a ConfigMap, also one that `kubectl` stored under `binaryData`; `None` if the key is missing, or its
/// value empty or not UTF-8.
pub fn map_text<'a>(map: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    let member = |name: &str| text(map.get(name).and_then(|data| data.get(key)));
    if let Some(found) = member("data") {
        return Some(Cow::Borrowed(found));
    }
    let bytes = STANDARD.decode(member("binaryData")?).ok()?;
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty())
        .map(Cow::Owned)
}

/// The text of an optional field; `None` if the field is absent, null, empty or not a text.
pub fn text(field: Option<&Value>) -> Option<&str> {
    field.and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // spec/README 13
    #[test]
    fn an_empty_value_is_an_absent_one() {
        let secret = json!({"data": {"full": "QQ==", "empty": "", "null": null, "bytes": "gIA=", "broken": "%"}});
        let found = |key| secret_text(&secret, key);
        assert_eq!(found("full"), Some(Ok("A".to_owned())));
        assert_eq!([found("empty"), found("null"), found("absent")], [None, None, None]);
        assert_eq!(
            [found("bytes"), found("broken")],
            [Some(Err(NotText)), Some(Err(NotText))]
        );
        assert_eq!(secret_text(&json!({}), "full"), None);

        let map = json!({"data": {"full": "A", "empty": "", "both": ""},
            "binaryData": {"both": "Qg==", "bytes": "gIA=", "nothing": "", "text": "Qw=="}});
        for (key, expected) in [
            ("full", Some("A")),
            ("empty", None),
            ("both", Some("B")),
            ("bytes", None),
            ("nothing", None),
            ("text", Some("C")),
            ("absent", None),
        ] {
            assert_eq!(map_text(&map, key).as_deref(), expected, "{key}");
        }
        assert_eq!(map_text(&json!({}), "full"), None);

        for (field, expected) in [
            (json!("a"), Some("a")),
            (json!(""), None),
            (json!(null), None),
            (json!(0), None),
            (json!([]), None),
        ] {
            assert_eq!(text(Some(&field)), expected, "{field}");
        }
        assert_eq!(text(None), None);
    }
}
