//! Signatures of requests to blob services: Shared Key, service SAS and user delegation SAS.
//!
//! Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key,
//! https://learn.microsoft.com/rest/api/storageservices/create-service-sas,
//! https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas

use crate::stores::asked::Asked;
use crate::stores::form;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Headers whose values are signed, each on a line; the length and the date are special.
const HEADERS: [&str; 11] = [
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

/// An HMAC in base64.
pub(super) fn sign(key: &str, text: &str) -> String {
    let key = STANDARD.decode(key).unwrap_or_default();
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes()))
}

/// Whether a signature of Shared Key is that of a key. The service sorts headers by a language's rules, most clients by bytes;
/// both are accepted.
pub(super) fn is_shared_key(asked: &Asked, account: &str, key: &str, signature: &str) -> bool {
    [true, false]
        .into_iter()
        .any(|by_language| sign(key, &string_to_sign(asked, account, by_language)) == signature)
}

/// What a client signs.
pub(super) fn string_to_sign(asked: &Asked, account: &str, by_language: bool) -> String {
    let mut text = format!("{}\n", asked.method);
    for name in HEADERS {
        let value = asked.header(name).unwrap_or_default();
        let dated = name == "date" && asked.header("x-ms-date").is_some();
        let empty = name == "content-length" && value == "0";
        if !dated && !empty {
            text.push_str(value);
        }
        text.push('\n');
    }
    let mut headers: Vec<(String, String)> = asked
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).trim().to_owned(),
            )
        })
        .collect();
    let key = |name: &str| {
        if by_language {
            name.replace('-', "").replace('_', "!")
        } else {
            name.to_owned()
        }
    };
    headers.sort_by_key(|(name, _)| (key(name), name.clone()));
    for (name, value) in headers {
        let _ = writeln!(text, "{name}:{value}");
    }
    let _ = write!(text, "/{account}{}", asked.path);
    let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in decode(&asked.query) {
        query.entry(name.to_lowercase()).or_default().push(value);
    }
    for (name, mut values) in query {
        values.sort();
        let _ = write!(text, "\n{name}:{}", values.join(","));
    }
    text
}

/// A query; a plus stays one.
fn decode(query: &str) -> Vec<(String, String)> {
    form::decode(&query.replace('+', "%2B"))
}

/// What a SAS grants.
#[derive(Debug)]
pub(super) struct Sas {
    fields: BTreeMap<String, String>,
}

/// The key behind a user delegation SAS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delegation {
    /// Object ID of who asked for the key.
    pub object_id: String,
    pub tenant: String,
    pub start: String,
    pub expiry: String,
    pub version: String,
}

impl Delegation {
    /// The value of the key, base64; `secret` is the stand-in's own.
    pub fn key(&self, secret: &str, account: &str) -> String {
        let text = [
            &*self.object_id,
            &self.tenant,
            &self.start,
            &self.expiry,
            &self.version,
            account,
        ];
        sign(secret, &text.join("\n"))
    }
}

impl Sas {
    /// The SAS in the query of a request, if there is one.
    pub fn of(query: &str) -> Option<Self> {
        let fields: BTreeMap<String, String> = decode(query).into_iter().collect();
        fields.contains_key("sig").then_some(Self { fields })
    }

    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The user delegation behind it; nothing for the account's key.
    pub fn delegation(&self) -> Option<Delegation> {
        let object_id = self.get("skoid");
        (!object_id.is_empty()).then(|| Delegation {
            object_id: object_id.to_owned(),
            tenant: self.get("sktid").to_owned(),
            start: self.get("skt").to_owned(),
            expiry: self.get("ske").to_owned(),
            version: self.get("skv").to_owned(),
        })
    }

    /// Whether it is signed with a key, for a container or one of its blobs.
    pub fn is_by(&self, key: &str, account: &str, container: &str, blob: &str) -> bool {
        let resource = match self.get("sr") {
            "c" => format!("/blob/{account}/{container}"),
            "b" | "bs" | "bv" => format!("/blob/{account}/{container}/{blob}"),
            _ => return false,
        };
        sign(key, &self.string_to_sign(&resource)) == self.get("sig")
    }

    fn string_to_sign(&self, resource: &str) -> String {
        let version = self.get("sv");
        let mut lines = vec![self.get("sp"), self.get("st"), self.get("se"), resource];
        if self.delegation().is_some() {
            lines.extend(["skoid", "sktid", "skt", "ske", "sks", "skv"].map(|name| self.get(name)));
            if version >= "2020-02-10" {
                lines.extend(["saoid", "suoid", "scid"].map(|name| self.get(name)));
            }
            if version >= "2025-07-05" {
                lines.extend(["skdutid", "sduoid"].map(|name| self.get(name)));
            }
        } else {
            lines.push(self.get("si"));
        }
        lines.extend(["sip", "spr", "sv", "sr"].map(|name| self.get(name)));
        lines.push(self.get("snapshot"));
        if version >= "2020-12-06" {
            lines.push(self.get("ses"));
        }
        if self.delegation().is_some() && version >= "2026-04-06" {
            lines.extend(["srh", "srq"].map(|name| self.get(name)));
        }
        lines.extend(["rscc", "rscd", "rsce", "rscl", "rsct"].map(|name| self.get(name)));
        lines.join("\n")
    }

    /// Whether it is good now.
    pub fn lives(&self) -> bool {
        let at = |name: &str| {
            let text = self.get(name);
            text.parse::<jiff::Timestamp>().ok().or_else(|| {
                // A date alone is its beginning.
                format!("{text}T00:00:00Z").parse().ok()
            })
        };
        let now = jiff::Timestamp::now();
        let begun = self.get("st").is_empty() || at("st").is_some_and(|start| start <= now);
        begun && at("se").is_some_and(|end| end > now)
    }

    /// Whether it has one of these permissions.
    pub fn permits(&self, any: &str) -> bool {
        any.chars().any(|letter| self.get("sp").contains(letter))
    }
}
