//! PURE: the few elements of the blob service's XML that matter here.

use crate::storage::net::percent::decoded_text;

/// Longest entity, with its semicolon: `&#x10FFFF;`. Without a limit, a text of many `&` would be searched again for each.
const LONGEST_ENTITY: usize = 12;

/// The texts of all elements of this name, in order, with entities decoded.
pub fn texts(document: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    let mut found = Vec::new();
    let mut rest = document;
    while let Some((_, after)) = rest.split_once(&open) {
        // `<Name>` or `<Name Encoded="true">`, not `<NameOfSomethingElse>`.
        let begins = after.starts_with(['>', ' ', '/']);
        let Some((attributes, content)) = after.split_once('>').filter(|_| begins) else {
            rest = after;
            continue;
        };
        if attributes.ends_with('/') {
            found.push(String::new());
            rest = content;
            continue;
        }
        let Some((text, after)) = content.split_once(&close) else {
            break;
        };
        let text = unescaped(text);
        found.push(if attributes.contains("Encoded=\"true\"") {
            decoded_text(&text)
        } else {
            text
        });
        rest = after;
    }
    found
}

/// The text of the first element of this name; `None` without one.
pub fn text(document: &str, element: &str) -> Option<String> {
    texts(document, element).into_iter().next()
}

/// The contents of all elements of this name, without decoding.
pub fn parts<'a>(document: &'a str, element: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let pieces = document.split(open.as_str()).skip(1);
    pieces
        .filter_map(|piece| Some(piece.split_once(close.as_str())?.0))
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        let mut near = after.bytes().take(LONGEST_ENTITY);
        let end = near.position(|byte| matches!(byte, b';' | b'&'));
        let end = end.filter(|end| after.as_bytes().get(*end) == Some(&b';'));
        let Some((entity, after)) = end.map(|end| (&after[..end], &after[end + 1..])) else {
            decoded.push('&');
            rest = after;
            continue;
        };
        if let Some(c) = character(entity) {
            decoded.push(c);
        } else {
            decoded.push('&');
            decoded.push_str(entity);
            decoded.push(';');
        }
        rest = after;
    }
    decoded.push_str(rest);
    decoded
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded() {
        let document = "<?xml version=\"1.0\"?><EnumerationResults ContainerName=\"c\"><Blobs><Blob><Name>/docker/a&amp;b&#x20;&lt;</Name>\
                        <NameLength>9</NameLength></Blob><Blob><Name Encoded=\"true\">a%EF%BF%BEb</Name></Blob></Blobs>\
                        <NextMarker /></EnumerationResults>";
        assert_eq!(texts(document, "Name"), ["/docker/a&b <", "a\u{fffe}b"]);
        assert_eq!(text(document, "NextMarker").as_deref(), Some(""));
        assert_eq!(text(document, "Marker"), None);
        assert_eq!(parts(document, "Blob").len(), 2);
        assert_eq!(texts("<Name>cut", "Name"), Vec::<String>::new());
        assert_eq!(
            text("<M>a & b &unknown; c</M>", "M").as_deref(),
            Some("a & b &unknown; c")
        );
        assert_eq!(unescaped("a&&&amp;&ü;&verylongentity;"), "a&&&&ü;&verylongentity;");
        let many = "&".repeat(4 << 20);
        assert_eq!(unescaped(&many).len(), many.len());
    }
}
