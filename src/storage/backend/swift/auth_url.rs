//! PURE: the URL of Keystone, as operator and registry use it.

use reqwest::Url;

/// Keystone's API version, for the registry.
pub const DEFAULT_VERSION: i64 = 3;

/// Parses an API version: `3`, `v3`, `3.14` and `2.0` are 3, 3, 3 and 2.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn version(text: &str) -> Result<i64, String> {
    let digits = text.trim();
    let digits = digits.strip_prefix(['v', 'V']).unwrap_or(digits);
    let mut parts = digits.split('.');
    let major = parts.next().unwrap_or_default();
    let number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let parsed = (number(major) && parts.all(number))
        .then(|| major.parse().ok())
        .flatten();
    // The registry knows these three.
    parsed
        .filter(|version| (1..=3).contains(version))
        .ok_or_else(|| format!("is {text:?}, which is not a version of Keystone's API: set it to 3 or 2"))
}

/// Scheme, host, port and path, without default port, dot segments, empty segments and trailing slash. The scheme defaults
/// to `http`, as in the registry.
///
/// # Errors
/// What is wrong with the URL, as the end of a sentence. The text contains no password.
pub fn normalised(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("contains blanks or backslashes".to_owned());
    }
    let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let url = parsed(text)
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(is_host))
        .ok_or_else(|| format!("is {shown:?}, which is not a URL such as https://HOST:5000/v3"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user or a password, which belong in the Secret with the credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    let origin = url.as_str().strip_suffix(url.path()).unwrap_or_default();
    Ok(segments(&url).fold(origin.to_owned(), |url, segment| format!("{url}/{segment}")))
}

fn parsed(text: &str) -> Option<Url> {
    if text.contains("://") {
        Url::parse(text).ok()
    } else {
        Url::parse(&format!("http://{text}")).ok()
    }
}

/// Whether the path of this URL ends with a slash. The Go operator keeps it in the registry's URL, and another text would replace pods.
pub fn ends_with_slash(text: &str) -> bool {
    parsed(text.trim()).is_some_and(|url| segments(&url).next().is_some() && url.path().ends_with('/'))
}

/// The normalised URL, with the host of the text in its own spelling, but lower case.
pub fn with_host_as_given(normalised: &str, text: &str) -> String {
    let text = text.trim();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let (origin, path) = split(normalised);
    let (scheme, authority) = origin.split_once("://").unwrap_or(("http", origin));
    // The port, if it is not the default one.
    let port = authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.map(|(_, port)| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{}{port}{path}", host.to_lowercase())
}

/// Whether the text is a DNS name or an IP address. Resolvers know names with an underscore, too, but no top level domain has one.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str, more: &[char]| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || more.contains(&c))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let (labels, last) = name
        .rsplit_once('.')
        .map_or((None, name), |(labels, last)| (Some(labels), last));
    let mut labels = labels.into_iter().flat_map(|labels| labels.split('.'));
    host.starts_with('[') || (labels.all(|label| is_label(label, &['_'])) && is_label(last, &[]))
}

fn segments(url: &Url) -> impl Iterator<Item = &str> {
    url.path().split('/').filter(|segment| !segment.is_empty())
}

/// `v1`, `v2.0`, `v3` and the like.
fn is_version(segment: &str) -> bool {
    let mut chars = segment.chars();
    let known = chars.next() == Some('v') && matches!(chars.next(), Some('1'..='3'));
    let rest = chars.as_str();
    let minor = rest.strip_prefix('.');
    known && (rest.is_empty() || minor.is_some_and(|m| !m.is_empty() && m.chars().all(|c| c.is_ascii_digit())))
}

/// `v`, `v4`, `v30`: meant as a version, and none.
fn is_no_version(segment: &str) -> bool {
    let rest = segment.strip_prefix('v');
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.')) && !is_version(segment)
}

/// The URL for the registry, which sends its requests to paths below it: the normalised URL with the API version.
///
/// # Errors
/// A part of the path looks like a version and is none.
pub fn for_registry(normalised: &str, version: i64) -> Result<String, String> {
    let path = path_of(normalised);
    let first = path.first().copied().unwrap_or_default();
    let kept = ["v1", "v2", "v3"].iter().any(|known| first.starts_with(known)) && !is_no_version(first);
    if kept || path.iter().any(|segment| is_version(segment)) {
        return Ok(normalised.to_owned());
    }
    if let Some(wrong) = path.iter().find(|segment| is_no_version(segment)) {
        return Err(format!(
            "has the path /{}, in which {wrong:?} is not a version of Keystone's API: let it end with /v3",
            path.join("/")
        ));
    }
    let version = if version == 2 {
        "v2.0".to_owned()
    } else {
        format!("v{version}")
    };
    Ok(format!("{normalised}/{version}"))
}

/// Which API the URL names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Keystone v2.0.
    V2,
    /// Keystone v3.
    V3,
}

/// The API that the end of the URL names; `None`: the operator asks Keystone which it has.
pub fn named_api(normalised: &str) -> Option<Api> {
    match path_of(normalised).last() {
        Some(&"v3") => Some(Api::V3),
        Some(&"v2.0") => Some(Api::V2),
        _ => None,
    }
}

/// The URL without the version and what follows it: there Keystone lists its versions, and it names the same Keystone
/// however its version is written.
pub fn base(normalised: &str) -> String {
    let (origin, _) = split(normalised);
    let path = path_of(normalised);
    let path = path.iter().take_while(|segment| !is_version(segment));
    path.fold(origin.to_owned(), |url, segment| format!("{url}/{segment}"))
}

/// Origin and path.
fn split(normalised: &str) -> (&str, &str) {
    let authority = normalised.find("://").map_or(0, |at| at + 3);
    let path = normalised[authority..].find('/').map(|at| authority + at);
    path.map_or((normalised, ""), |at| normalised.split_at(at))
}

fn path_of(normalised: &str) -> Vec<&str> {
    let (_, path) = split(normalised);
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// This URL of Keystone's list of versions, at the host that the user named: Keystone behind a TLS proxy often reports
/// another scheme or host, and credentials go only to the host of the Config. `None` if it is no URL.
pub fn at_same_host(normalised: &str, reported: &str) -> Option<String> {
    let (origin, _) = split(normalised);
    let url = Url::parse(reported).ok()?;
    let joined = segments(&url).fold(origin.to_owned(), |url, segment| format!("{url}/{segment}"));
    (joined != origin).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-swift 19
    #[test]
    fn versions_are_numbers_in_the_forms_that_clouds_use() {
        for (text, expected) in [
            ("3", Some(3)),
            ("v3", Some(3)),
            ("3.14", Some(3)),
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("v2.0", Some(2)),
            ("1", Some(1)),
            ("abc", None),
            ("v", None),
            ("", None),
            ("3.", None),
            ("3.x", None),
            ("-3", None),
            ("4", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(version(text).ok(), expected, "{text:?}");
        }
    }

    // storage-swift 37, 38, 39
    #[test]
    fn the_registry_gets_the_url_with_its_version() {
        for (given, expected) in [
            ("http://h:5000/v3", Some("http://h:5000/v3")),
            ("http://h:5000/v3/", Some("http://h:5000/v3")),
            ("http://h:5000/./././v3//", Some("http://h:5000/v3")),
            ("http://h:5000/v2.0", Some("http://h:5000/v2.0")),
            ("http://h:5000", Some("http://h:5000/v3")),
            ("http://h:5000/", Some("http://h:5000/v3")),
            ("http://h:5000/./././", Some("http://h:5000/v3")),
            ("HTTP://H:80/v3", Some("http://h/v3")),
            ("https://h:443", Some("https://h/v3")),
            ("h:5000/v3", Some("http://h:5000/v3")),
            ("h", Some("http://h/v3")),
            ("https://h/identity/v3", Some("https://h/identity/v3")),
            ("https://h/identity", Some("https://h/identity/v3")),
            ("http://h/abracadabra", Some("http://h/abracadabra/v3")),
            ("http://[fd00::1]:5000/v3", Some("http://[fd00::1]:5000/v3")),
            ("http://10.1.2.3:5000", Some("http://10.1.2.3:5000/v3")),
            ("http://h:5000/./././v/3//", None),
            ("http://h:5000/v30", None),
            ("http://h:5000/v4", None),
            (
                "https://keystone.os_prod.example.com",
                Some("https://keystone.os_prod.example.com/v3"),
            ),
            ("INVALID_URL", None),
            ("https://keystone.os_prod", None),
            ("https://keystone..example.com", None),
            ("", None),
            ("http://", None),
            ("ftp://h/v3", None),
            ("http://user:hunter2@h/v3", None),
            ("http://h/v3?x", None),
            ("http://h/v 3", None),
        ] {
            let found = normalised(given).and_then(|url| for_registry(&url, 3));
            assert_eq!(found.as_deref().ok(), expected, "{given}: {found:?}");
            assert!(!format!("{found:?}").contains("hunter2"));
        }
        assert_eq!(for_registry("http://h", 2).unwrap(), "http://h/v2.0");
        let wrong = for_registry("http://h:5000/v/3", 3).unwrap_err();
        assert!(wrong.contains("/v/3"), "{wrong}");
    }

    #[test]
    fn the_host_can_keep_its_spelling() {
        for (given, expected) in [
            ("https://[FD00:0::1]:443/v3/", "https://[fd00:0::1]/v3"),
            ("http://Größe.example:5000", "http://größe.example:5000/v3"),
            ("h:5000", "http://h:5000/v3"),
            ("h", "http://h/v3"),
            ("https://[fd00:0::1]", "https://[fd00:0::1]/v3"),
        ] {
            let url = for_registry(&normalised(given).unwrap(), 3).unwrap();
            assert_eq!(with_host_as_given(&url, given), expected);
        }
    }

    // storage-swift 20, 21
    #[test]
    fn the_end_of_the_url_names_the_api_or_else_keystone_is_asked_at_the_path_before_it() {
        for (url, api, base_url) in [
            ("http://h:5000/v3", Some(Api::V3), "http://h:5000"),
            ("https://h/identity/v3", Some(Api::V3), "https://h/identity"),
            ("https://h/v2.0", Some(Api::V2), "https://h"),
            // Keystone answers at /v2.0 alone, and its list of versions says so.
            ("https://h/v2", None, "https://h"),
            ("https://h", None, "https://h"),
            ("https://h/identity", None, "https://h/identity"),
            ("https://h/v3/more", None, "https://h"),
        ] {
            assert_eq!((named_api(url), base(url).as_str()), (api, base_url), "{url}");
        }
    }

    #[test]
    fn credentials_go_only_to_the_host_that_the_user_named() {
        let at = |reported| at_same_host("https://h:13000", reported);
        assert_eq!(at("http://internal:5000/v3/").as_deref(), Some("https://h:13000/v3"));
        assert_eq!(
            at("https://h:13000/identity/v3").as_deref(),
            Some("https://h:13000/identity/v3")
        );
        assert_eq!(at("https://h:13000/"), None);
        assert_eq!(at("v3"), None);
    }
}
