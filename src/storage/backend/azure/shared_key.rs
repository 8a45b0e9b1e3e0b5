//! PURE: authorization with the key of an account. Source: Azure Storage, "Authorize with Shared Key" and "Create a service
//! SAS".

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::storage::net::transport::Request;

/// Headers of the string to sign, in this order; `content-length` and `date` are special.
const STANDARD_HEADERS: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Signs a text: base64 of its HMAC-SHA256.
pub fn signature(key: &[u8], text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// The request with the header `authorization`.
#[must_use]
pub fn authorized(request: Request, account: &str, key: &[u8]) -> Request {
    let text = string_to_sign(&request, account);
    let signature = signature(key, &text);
    request.header("authorization", format!("SharedKey {account}:{signature}"))
}

fn string_to_sign(request: &Request, account: &str) -> String {
    let value = |name: &str| {
        let found = request.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value.expose())
    };
    let length = request.body.len().to_string();
    let mut lines = vec![request.method.as_str().to_owned()];
    lines.extend(STANDARD_HEADERS.map(|name| match name {
        "content-length" if request.body.is_empty() => String::new(),
        "content-length" => length.clone(),
        // The request has `x-ms-date`.
        "date" => String::new(),
        name => value(name).to_owned(),
    }));
    let mut own: Vec<(String, String)> = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .map(|(name, value)| (place(name), format!("{name}:{}", value.expose().trim())))
        .collect();
    own.sort_unstable();
    lines.extend(own.into_iter().map(|(_, line)| line));
    lines.push(canonical_resource(&request.url, account));
    lines.join("\n")
}

/// What the name of a header is sorted by. The service sorts by the rules of a language: a hyphen does not count, and an underscore is
/// before digits and letters (Azure/azure-sdk-for-python, issue 10277).
fn place(name: &str) -> String {
    name.replace('-', "").replace('_', "!")
}

/// `/account/path`, and a line for each parameter of the query.
fn canonical_resource(url: &str, account: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find(['/', '?']).map_or("", |start| &rest[start..]);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = if path.is_empty() { "/" } else { path };
    let mut parameters: Vec<(String, String)> = reqwest::Url::parse(url)
        .ok()
        .filter(|_| !query.is_empty())
        .map(|url| {
            let pairs = url.query_pairs();
            pairs
                .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
                .collect()
        })
        .unwrap_or_default();
    parameters.sort_unstable();
    let parameters = parameters.into_iter().map(|(name, value)| format!("\n{name}:{value}"));
    format!("/{account}{path}{}", parameters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn the_string_to_sign_is_that_of_the_documentation() {
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata";
        let request = Request::new(Method::GET, url.to_owned())
            .header("x-ms-version", "2014-02-14")
            .header("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT");
        let expected = "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2014-02-14\n\
                        /myaccount/mycontainer\ncomp:metadata\nrestype:container";
        assert_eq!(string_to_sign(&request, "myaccount"), expected);
    }

    // storage-azure section 5: headers are sorted by name alone, by the rules of a language
    #[test]
    fn headers_are_sorted_by_their_names() {
        let url = "https://a.blob.core.windows.net/c?restype=container&comp=metadata";
        let mut request = Request::new(Method::PUT, url.to_owned());
        for name in ["owner2", "owner", "i0", "i_", "team"] {
            request = request.header(format!("x-ms-meta-{name}"), "x");
        }
        let text = string_to_sign(&request, "a");
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("x-ms-meta-")?.strip_suffix(":x"))
            .collect();
        assert_eq!(names, ["i_", "i0", "owner", "owner2", "team"]);
    }

    #[test]
    fn body_type_and_encoded_names_are_signed() {
        let url = "https://a.blob.core.windows.net/c/%2Fdocker%2Fx?comp=list&prefix=%2Fa%20b";
        let request = Request::new(Method::PUT, url.to_owned())
            .header("x-ms-blob-type", "BlockBlob")
            .content("application/octet-stream", "abc");
        let text = string_to_sign(&request, "a");
        assert!(text.starts_with("PUT\n\n\n3\n\napplication/octet-stream\n\n"), "{text}");
        assert!(
            text.ends_with("x-ms-blob-type:BlockBlob\n/a/c/%2Fdocker%2Fx\ncomp:list\nprefix:/a b"),
            "{text}"
        );
        let signed = authorized(request, "a", b"key");
        let (_, header) = signed.headers.last().unwrap();
        assert!(header.expose().starts_with("SharedKey a:"));
    }
}
