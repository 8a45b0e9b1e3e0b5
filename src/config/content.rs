//! What others write into Secrets, ConfigMaps and optional fields. PURE.
//!
//! Empty is absent: issuers of certificates leave keys such as `ca.crt` empty, and the API server drops an empty optional
//! text. Nothing else in this crate decides whether a key is set.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The value of a key of a Secret is not UTF-8 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

/// The text of a key of a Secret; `None` if the key is missing or its value empty.
pub fn secret_text(secret: &Value, key: &str) -> Option<Result<String, NotText>> {
    let encoded = text(secret.get("data")?.get(key))?;
    let bytes = STANDARD.decode(encoded).map_err(|_| NotText);
    Some(bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| NotText)))
}

/// Editors of Windows put it at the start of a file. A PEM block after it is not found.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text of a key of a ConfigMap, from `data` or else from `binaryData`; `None` if the key is missing or empty in both.
///
/// `kubectl create configmap --from-file` and the `configMapGenerator` of kustomize store a file that is not UTF-8 under
/// `binaryData`, such as a CA bundle with an ISO 8859-1 comment. Bytes that are not UTF-8 are replaced with U+FFFD:
/// certificates in PEM are ASCII, so that only comments change.
pub fn map_text<'a>(map: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    let member = |name: &str| text(map.get(name).and_then(|data| data.get(key)));
    if let Some(text) = member("data") {
        return Some(Cow::Borrowed(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)));
    }
    let bytes = STANDARD.decode(member("binaryData")?).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    (!text.is_empty()).then(|| Cow::Owned(text.to_owned()))
}

/// The text of an optional field; `None` if the field is absent, null, empty or not a text.
pub fn text(field: Option<&Value>) -> Option<&str> {
    field.and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Whether an object has a label, whatever its value.
pub fn has_label(object: &Value, label: &str) -> bool {
    object
        .pointer("/metadata/labels")
        .is_some_and(|labels| labels.get(label).is_some())
}

/// Whether an object is being deleted.
pub fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
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
            ("bytes", Some("\u{fffd}\u{fffd}")),
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

    // spec/README 13: empty is absent
    #[test]
    fn a_key_is_read_from_data_or_else_from_binary_data() {
        let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
        let latin = base64(b"# M\xfcnchen\nPEM\n");
        for (what, map, expected) in [
            ("text", json!({"data": {"k": "PEM"}}), Some("PEM")),
            ("binary", json!({"binaryData": {"k": base64(b"PEM\n")}}), Some("PEM\n")),
            (
                "ISO 8859-1",
                json!({"binaryData": {"k": latin}}),
                Some("# M\u{fffd}nchen\nPEM\n"),
            ),
            ("byte order mark", json!({"data": {"k": "\u{feff}PEM"}}), Some("PEM")),
            (
                "both",
                json!({"data": {"k": "PEM"}, "binaryData": {"k": base64(b"other")}}),
                Some("PEM"),
            ),
            (
                "empty text",
                json!({"data": {"k": ""}, "binaryData": {"k": base64(b"PEM")}}),
                Some("PEM"),
            ),
            ("empty binary", json!({"binaryData": {"k": ""}}), None),
            ("both empty", json!({"data": {"k": ""}, "binaryData": {"k": ""}}), None),
            (
                "another key",
                json!({"data": {"other": "PEM"}, "binaryData": {"another": base64(b"PEM")}}),
                None,
            ),
            ("no members", json!({}), None),
            ("null members", json!({"data": null, "binaryData": null}), None),
            ("a number", json!({"data": {"k": 7}}), None),
            ("not base64", json!({"binaryData": {"k": "%%%"}}), None),
        ] {
            assert_eq!(map_text(&map, "k").as_deref(), expected, "{what}");
        }
    }
}
