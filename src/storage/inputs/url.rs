//! PURE: checks endpoint URLs of the Config.

use reqwest::Url;

/// Scheme, host, port and path of an absolute URL, without empty segments and without a trailing slash.
///
/// # Errors
/// What is wrong with the URL, as the end of a sentence. The text contains no password.
pub fn endpoint(text: &str) -> Result<String, String> {
    // The URL parser would correct these characters. The registry's parser rejects them.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("contains blanks or backslashes".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let absolute = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let Some(rest) = absolute else {
        return Err(format!(
            "is {:?}, which does not begin with https:// or http://",
            shown(text)
        ));
    };
    let url = Url::parse(text)
        .ok()
        .filter(|_| !rest.is_empty() && !rest.starts_with('/'));
    let url = url.ok_or_else(|| format!("is {:?}, which is not a URL", shown(text)))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user or a password, which belong in the Secret with the credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    let origin = url.as_str().strip_suffix(url.path()).unwrap_or_default();
    // The registry's client leaves empty segments out, too.
    let segments = url.path().split('/').filter(|segment| !segment.is_empty());
    Ok(segments.fold(origin.to_owned(), |url, segment| format!("{url}/{segment}")))
}

/// The URL for a message, without the part before `@`, which may contain a password.
fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}
