//! PURE: shared access signatures for one blob, as the registry makes them for downloads and copies. Source: Azure Storage,
//! "Create a service SAS" and "Create a user delegation SAS".

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::shared_key::signature;
use super::xml;
use crate::storage::net::percent::form;

/// Lifetime of a signature, as in the registry's driver.
const LIFETIME: Duration = Duration::from_mins(20);

/// A blob, for a signature.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Account.
    pub account: &'a str,
    /// Container.
    pub container: &'a str,
    /// Name of the blob.
    pub blob: &'a str,
    /// Version of the API.
    pub version: &'a str,
    /// Current time.
    pub now: SystemTime,
}

/// A key that Azure issues to an identity for signatures.
#[derive(Clone, Default)]
pub struct DelegationKey {
    object: String,
    tenant: String,
    start: String,
    expiry: String,
    service: String,
    version: String,
    /// The key, base64.
    pub value: crate::api::Sensitive,
}

impl DelegationKey {
    /// The key in the response of the service; `None` if it is none.
    pub fn parse(document: &str) -> Option<Self> {
        Some(Self {
            object: xml::text(document, "SignedOid")?,
            tenant: xml::text(document, "SignedTid")?,
            start: xml::text(document, "SignedStart")?,
            expiry: xml::text(document, "SignedExpiry")?,
            service: xml::text(document, "SignedService")?,
            version: xml::text(document, "SignedVersion")?,
            value: crate::api::Sensitive::new(xml::text(document, "Value")?),
        })
    }
}

/// The content of a request for a delegation key.
pub fn key_info(now: SystemTime) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>{}</Start><Expiry>{}</Expiry></KeyInfo>",
        time(start(now)),
        time(now + LIFETIME)
    )
}

fn start(now: SystemTime) -> SystemTime {
    // For clocks that differ a little.
    now - Duration::from_secs(10)
}

fn time(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Subject<'_> {
    fn resource(&self) -> String {
        format!("/blob/{}/{}/{}", self.account, self.container, self.blob)
    }

    /// Whether the string to sign has a line for the encryption scope.
    fn has_scope(&self) -> bool {
        self.version >= "2020-12-06"
    }

    /// The query with a signature of the account's key.
    pub fn with_key(&self, key: &[u8]) -> String {
        let (start, expiry) = (time(start(self.now)), time(self.now + LIFETIME));
        let mut lines = vec!["r", &start, &expiry];
        let resource = self.resource();
        lines.extend([resource.as_str(), "", "", "", self.version, "b", ""]);
        if self.has_scope() {
            lines.push("");
        }
        lines.extend([""; 5]);
        let signature = signature(key, &lines.join("\n"));
        form(&[
            ("sv", self.version),
            ("st", &start),
            ("se", &expiry),
            ("sr", "b"),
            ("sp", "r"),
            ("sig", &signature),
        ])
    }

    /// The query with a signature of a delegation key. `bytes`: the decoded key.
    pub fn with_delegation(&self, key: &DelegationKey, bytes: &[u8]) -> String {
        let (start, expiry) = (time(start(self.now)), time(self.now + LIFETIME));
        let resource = self.resource();
        let mut lines = vec!["r", &start, &expiry, &resource];
        lines.extend([
            key.object.as_str(),
            &key.tenant,
            &key.start,
            &key.expiry,
            &key.service,
            &key.version,
        ]);
        lines.extend(["", "", "", "", "", self.version, "b", ""]);
        if self.has_scope() {
            lines.push("");
        }
        lines.extend([""; 5]);
        let signature = signature(bytes, &lines.join("\n"));
        form(&[
            ("sv", self.version),
            ("st", &start),
            ("se", &expiry),
            ("sr", "b"),
            ("sp", "r"),
            ("skoid", &key.object),
            ("sktid", &key.tenant),
            ("skt", &key.start),
            ("ske", &key.expiry),
            ("sks", &key.service),
            ("skv", &key.version),
            ("sig", &signature),
        ])
    }
}
