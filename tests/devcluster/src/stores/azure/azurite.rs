//! [Azurite](https://github.com/Azure/Azurite), which has the containers and blobs of all stand-ins of a program.
//!
//! Azurite is told its accounts when it starts. Each account that Resource Manager creates gets one of them, which nobody
//! had before; the name that clients know is the stand-in's matter, and so is who may do what.

use crate::stores::form::{decode, encode, escape};
use crate::stores::home::Home;
use crate::stores::wire::{Answer, Call, Target};
use crate::{process, programs};
use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::OnceCell;

const PROCESS: &str = "azurite";
/// How many accounts it has. They stand in its environment, which is short.
const SLOTS: usize = 1500;
/// The key of all its accounts: nobody reaches Azurite but the stand-in.
const KEY: [u8; 24] = *b"devcluster-azurite-key-1";
/// What hosts of its accounts end in.
const SUFFIX: &str = "blob.azurite.test";

#[derive(Debug)]
pub(super) struct Azurite {
    home: Home,
    target: Target,
    next: AtomicUsize,
}

/// The one of this program; the watchdog ends it with the program.
static SHARED: OnceCell<Azurite> = OnceCell::const_new();

/// An account of Azurite.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    name: String,
    /// A signature for everything, as a query.
    sas: Arc<str>,
}

impl Slot {
    fn new(number: usize) -> Self {
        let name = slot_name(number);
        let (version, services, types, permissions, expiry) =
            ("2020-12-06", "b", "sco", "rwdxylacuptfi", "2999-01-01T00:00:00Z");
        let signed = [&name, permissions, services, types, "", expiry, "", "", version, "", ""].join("\n");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), signed.as_bytes());
        let sas = encode(&[
            ("sv", version),
            ("ss", services),
            ("srt", types),
            ("sp", permissions),
            ("se", expiry),
            ("sig", &STANDARD.encode(signature)),
        ]);
        Self { name, sas: sas.into() }
    }

    /// Host of the account in Azurite.
    pub fn host(&self) -> String {
        format!("{}.{SUFFIX}", self.name)
    }

    /// How its answers name the service.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{}", self.host(), self.name)
    }

    fn path(&self, path: &str, query: &str) -> String {
        let and = if query.is_empty() { "" } else { "&" };
        format!("{path}?{query}{and}{}", self.sas)
    }
}

fn slot_name(number: usize) -> String {
    format!("slot{number:04}")
}

impl Azurite {
    /// Starts it unless it runs.
    pub async fn shared() -> Result<&'static Self> {
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self> {
        let program = programs::azurite().await?;
        let home = Home::create("azurite", 1)?;
        let port = home.ports().first().copied().context("a port")?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let mut command = process::command(&program.node);
        command.arg(&program.script).arg(&program.packages);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.args([
            "--loose",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
            "--inMemoryPersistence",
        ]);
        let key = STANDARD.encode(KEY);
        let accounts: Vec<String> = (0..SLOTS)
            .map(|number| format!("{}:{key}", slot_name(number)))
            .collect();
        command.env("AZURITE_ACCOUNTS", accounts.join(";"));
        command.env("HOME", home.directory());
        home.spawn(PROCESS, command)?;
        let target = Target::plain(address);
        home.until("Azurite answers", || async {
            target.call(Call::new(Method::GET, "/")).await.ok()
        })
        .await?;
        let mut azurite = Self {
            home,
            target,
            next: AtomicUsize::new(0),
        };
        azurite.home.complete = true;
        Ok(azurite)
    }

    /// An account that nobody had.
    pub fn slot(&self) -> Result<Slot> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        ensure!(
            number < SLOTS,
            "Azurite has {SLOTS} accounts, and this program has used them all"
        );
        Ok(Slot::new(number))
    }

    /// A call to an account; path and query are encoded.
    pub async fn call(
        &self,
        slot: &Slot,
        method: Method,
        (path, query): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let (path, host) = (slot.path(path, query), slot.host());
        let mut headers = headers.to_vec();
        // Azurite wants it also where there is nothing to come.
        if body.is_empty() && (method == Method::PUT || method == Method::POST) {
            headers.push(("content-length", "0"));
        }
        let call = Call::new(method, &path).host(&host).headers(&headers).body(body);
        self.target.call(call).await
    }

    /// The names of all containers, or of all blobs of a container.
    pub async fn names(&self, slot: &Slot, container: Option<&str>) -> Result<Vec<String>> {
        let (path, query, element) = match container {
            Some(container) => (format!("/{container}"), "restype=container&comp=list", "Blob"),
            None => ("/".to_owned(), "comp=list&include=metadata", "Container"),
        };
        let mut names = Vec::new();
        let mut marker = String::new();
        loop {
            let query = format!("{query}&{}", encode(&[("marker", &marker)]));
            let answer = self.call(slot, Method::GET, (&path, &query), &[], b"").await?.good()?;
            let text = answer.text();
            let entries = elements(&text, element);
            names.extend(
                entries
                    .iter()
                    .filter_map(|entry| elements(entry, "Name").first().map(|name| plain(name))),
            );
            marker = elements(&text, "NextMarker")
                .first()
                .map(|text| plain(text))
                .unwrap_or_default();
            if marker.is_empty() {
                return Ok(names);
            }
        }
    }

    /// Writes that many blobs of one byte: `PREFIX000000` and on. Azurite makes them of the first, see `tools/azurite/serve.js`.
    pub async fn fill(&self, slot: &Slot, container: &str, prefix: &str, count: usize) -> Result<()> {
        let path = format!("/{container}/{}", escape(&format!("{prefix}000000")));
        let count = count.to_string();
        let headers = [
            ("x-ms-blob-type", "BlockBlob"),
            ("x-ms-meta-devcluster_fill", count.as_str()),
        ];
        let made = self.call(slot, Method::PUT, (&path, ""), &headers, b"x").await?;
        made.good().map(drop)
    }
}

/// The contents of all elements of that name, as they stand in the XML. Enough for what Azurite answers.
pub(super) fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(open.as_str()).skip(1);
    parts
        .filter_map(|part| part.split_once(close.as_str()).map(|(content, _)| content))
        .collect()
}

/// Text without the escapes of XML.
pub(super) fn plain(text: &str) -> String {
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'");
    text.replace("&apos;", "'").replace("&amp;", "&")
}

/// The elements below one, by name.
pub(super) fn children(xml: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((name, content)) = after.split_once('>') else {
            break;
        };
        let close = format!("</{name}>");
        match content.split_once(close.as_str()) {
            Some((text, after)) => {
                found.push((name.to_owned(), plain(text)));
                rest = after;
            }
            None => rest = content,
        }
    }
    found
}

/// A query without what the stand-in or Azurite add to it.
pub(super) fn without_signature(query: &str) -> String {
    const OURS: &[&str] = &[
        "sv", "ss", "srt", "sp", "se", "st", "sr", "sig", "spr", "sip", "si", "skoid", "sktid", "skt", "ske", "sks",
        "skv", "saoid", "suoid", "scid", "skdutid", "sduoid", "ses", "sdd", "srh", "srq",
    ];
    let pairs: Vec<(String, String)> = decode(query)
        .into_iter()
        .filter(|(name, _)| !OURS.contains(&name.as_str()))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    encode(&pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let xml = "<C><Name>a&amp;b</Name><Metadata><one>1</one><Two>x y</Two></Metadata></C><C><Name>c</Name><Metadata/></C>";
        let entries = elements(xml, "C");
        assert_eq!(entries.len(), 2);
        assert_eq!(plain(elements(entries[0], "Name")[0]), "a&b");
        let metadata = children(elements(entries[0], "Metadata")[0]);
        assert_eq!(metadata, [("one".into(), "1".into()), ("Two".into(), "x y".into())]);
        assert!(elements(entries[1], "Metadata").is_empty());
    }

    #[test]
    fn signatures_do_not_go_on() {
        assert_eq!(
            without_signature("restype=container&sig=a%2Bb&sv=1&comp=list"),
            "restype=container&comp=list"
        );
    }
}
