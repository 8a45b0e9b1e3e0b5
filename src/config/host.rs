//! PURE: names of hosts.

/// Whether the text can be a label of a host name: 1 to 63 letters, digits and hyphens, with no hyphen at either end.
/// Source: RFC 1123, section 2.1.
pub fn is_label(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(legal) && !text.starts_with('-') && !text.ends_with('-')
}
