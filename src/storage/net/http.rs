//! HTTP clients for clouds: one client for each set of CA certificates and proxies, created at first use and cached.
//!
//! Of the environment, only `SSL_CERT_FILE` and `SSL_CERT_DIR` have an effect here: they name the system's CA
//! certificates. Without those, Mozilla's apply. Clients do not follow redirects, so that a signed request never goes
//! to another host.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Proxy, Url, redirect};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::cause::cause;
use super::no_proxy::NoProxy;
use super::percent;
use super::verifier::{Unverified, Verifier};
use crate::api::Sensitive;
use crate::program::Proxies;
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;

/// Timeout for name resolution, connection and TLS handshake together.
const CONNECT: Duration = Duration::from_secs(10);
/// Timeout of a request, from the first byte sent to the last byte read.
const REQUEST: Duration = Duration::from_mins(1);
/// Longest time of a request with its connection. The service may carry out a request until then.
pub const LONGEST_REQUEST: Duration = CONNECT.saturating_add(REQUEST);
/// Idle connections are closed after this time.
const IDLE: Duration = Duration::from_secs(90);
/// Interval of TCP keepalive probes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Largest number of idle connections per host.
const IDLE_CONNECTIONS: usize = 2;
/// Largest number of cached clients: for S3 and STS, as operator and as registry, before and after a change.
const CLIENTS: usize = 8;

/// Proxies of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Egress {
    /// The operator's own proxies, read at each request because the platform may change them.
    Process,
    /// These proxies, of the registry's pods.
    Fixed(Proxies),
}

/// Trusted CA certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates in PEM; may be empty.
    pub bundle: String,
    /// Whether the system's CA certificates are trusted as well.
    pub system: bool,
    /// Whether every certificate is accepted, because the administrator wants that.
    pub unverified: bool,
}

impl Trust {
    /// The certificates of this bundle (PEM; may be empty) and the system's.
    pub fn with_system(bundle: impl Into<String>) -> Self {
        Self {
            bundle: bundle.into(),
            system: true,
            unverified: false,
        }
    }

    /// The fields as texts, for fingerprints.
    fn texts(&self) -> [&str; 3] {
        let text = |set, text| if set { text } else { "" };
        [
            &self.bundle,
            text(self.system, "system"),
            text(self.unverified, "unverified"),
        ]
    }
}

/// Resolves a host name; `None`: the system's resolver applies.
pub type Names = Arc<dyn Fn(&str) -> Option<SocketAddr> + Send + Sync>;

/// Creates and caches clients.
pub struct Http {
    proxies: Arc<dyn Fn() -> Proxies + Send + Sync>,
    names: Option<Names>,
    /// Timeout of a request.
    timeout: Duration,
    /// Cached clients, the last used one first. The key is a digest, so that the cache holds no bundle or password.
    cached: Mutex<Vec<(Fingerprint, reqwest::Client)>>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// `proxies` returns the operator's own proxies; it is called at each request. Creates no client yet.
    pub fn new(proxies: impl Fn() -> Proxies + Send + Sync + 'static) -> Self {
        Self {
            proxies: Arc::new(proxies),
            names: None,
            timeout: REQUEST,
            cached: Mutex::default(),
        }
    }

    /// Resolves host names with `names` first; for tests.
    #[must_use]
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = Some(names);
        self
    }

    /// Sets the timeout of a request; for tests.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The client for these CA certificates and the current proxies. Call it again for each request: the operator's own
    /// proxies may change, and an open connection would continue through the old one.
    ///
    /// # Errors
    /// The bundle holds no certificate, or the value of a proxy is not a URL.
    pub fn client(&self, trust: &Trust, egress: &Egress) -> Result<reqwest::Client, StorageError> {
        let proxies = match egress {
            Egress::Process => (self.proxies)(),
            Egress::Fixed(proxies) => proxies.clone(),
        };
        let key = key(trust, &proxies);
        if let Some(client) = self.find(&key) {
            return Ok(client);
        }
        let client = build(trust, &proxies, self.names.clone(), self.timeout)?;
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.insert(0, (key, client.clone()));
        cached.truncate(CLIENTS);
        Ok(client)
    }

    /// Digest of CA certificates and proxies. The operator's own proxies have the same digest, whatever their values.
    pub fn path(trust: &Trust, egress: &Egress) -> Fingerprint {
        match egress {
            Egress::Process => Fingerprint::of(trust.texts()),
            Egress::Fixed(proxies) => key(trust, proxies),
        }
    }

    /// Passwords in the URLs of the proxies, for their redaction in messages: as written, decoded, and as the header
    /// `Proxy-Authorization` holds them.
    pub fn secrets(&self, egress: &Egress) -> Vec<Sensitive> {
        let proxies = match egress {
            Egress::Process => (self.proxies)(),
            Egress::Fixed(proxies) => proxies.clone(),
        };
        let urls = [proxies.http, proxies.https].into_iter().flatten();
        urls.filter_map(|url| forms_of_password(url.expose()))
            .flatten()
            .collect()
    }

    fn find(&self, key: &Fingerprint) -> Option<reqwest::Client> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let place = cached.iter().position(|(other, _)| other == key)?;
        cached[..=place].rotate_right(1);
        cached.first().map(|(_, client)| client.clone())
    }
}

fn key(trust: &Trust, proxies: &Proxies) -> Fingerprint {
    Fingerprint::of(trust.texts().into_iter().chain(proxies.texts()))
}

fn build(
    trust: &Trust,
    proxies: &Proxies,
    names: Option<Names>,
    timeout: Duration,
) -> Result<reqwest::Client, StorageError> {
    let crypto = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(provider::default_provider()));
    let unusable = |error: &dyn fmt::Display| StorageError::transient(format!("cannot set up TLS: {error}"));
    let tls = ClientConfig::builder_with_provider(crypto.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let (roots, trusted) = roots(trust)?;
    let tls = if trust.unverified {
        let verifier = Unverified(crypto.signature_verification_algorithms);
        tls.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else if roots.is_empty() {
        tls.with_root_certificates(roots)
    } else {
        let verifier = Verifier::new(roots, trusted, crypto).map_err(|error| unusable(&error))?;
        tls.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let mut tls = tls.with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .timeout(timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_keepalive(KEEP_ALIVE)
        .no_proxy(); // No proxies from the environment.
    if let Some(proxy) = proxy(proxies)? {
        builder = builder.proxy(proxy);
    }
    if let Some(names) = names {
        builder = builder.dns_resolver(Resolver(names));
    }
    builder.build().map_err(|error| unusable(&cause(&error)))
}

/// The password in a URL, in each of its forms; `None` without one.
fn forms_of_password(url: &str) -> Option<[Sensitive; 3]> {
    let (user, _) = url.rsplit_once('@')?;
    let user = user.rsplit_once("//").map_or(user, |(_, user)| user);
    let (name, password) = user.split_once(':')?;
    let [name, decoded] = [name, password].map(percent::decoded);
    let header = [&name[..], &b":"[..], &decoded[..]].concat();
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    Some([password.to_owned(), decoded, STANDARD.encode(header)].map(Sensitive::new))
}

/// The proxies, for the HTTP library; `None` without any.
fn proxy(proxies: &Proxies) -> Result<Option<Proxy>, StorageError> {
    let parse = |variable, url: &Option<Sensitive>| match url.as_ref().filter(|url| !url.is_empty()) {
        Some(url) => proxy_url(url).ok_or_else(|| no_proxy_url(variable)).map(Some),
        None => Ok(None),
    };
    let http = parse("HTTP_PROXY", &proxies.http)?;
    let https = parse("HTTPS_PROXY", &proxies.https)?;
    let no_proxy = NoProxy::parse(proxies.no_proxy.as_deref().unwrap_or_default());
    let choose = move |url: &Url| {
        let proxy = if url.scheme() == "https" { &https } else { &http };
        proxy.clone().filter(|_| !no_proxy.covers(url))
    };
    Ok(proxies.is_any().then(|| Proxy::custom(choose)))
}

/// Parses the URL of a proxy. The HTTP library ignores an invalid URL and would connect directly.
fn proxy_url(text: &Sensitive) -> Option<Url> {
    let text = text.expose();
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    url.ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Error for an invalid proxy URL. It omits the value, which may contain a password.
fn no_proxy_url(variable: &str) -> StorageError {
    StorageError::action_required(format!(
        "{variable} is not the URL of a proxy: set it to http://HOST:PORT or https://HOST:PORT"
    ))
}

/// The trusted certificates: those that can be a CA, and all of them.
fn roots(trust: &Trust) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), StorageError> {
    let mut store = RootCertStore::empty();
    let mut trusted = Vec::new();
    if !trust.bundle.trim().is_empty() {
        let found = CertificateDer::pem_slice_iter(trust.bundle.as_bytes()).filter_map(Result::ok);
        trusted.extend(found);
        let (usable, _) = store.add_parsable_certificates(trusted.iter().cloned());
        if usable == 0 {
            return Err(StorageError::action_required(
                "the CA bundle of the storage holds no certificate: it must hold certificates in PEM",
            ));
        }
    }
    if trust.system {
        let system = rustls_native_certs::load_native_certs().certs;
        trusted.extend(system.iter().cloned());
        add_system(&mut store, system);
    }
    Ok((store, trusted))
}

/// Adds the system's CA certificates. The operator's image has none; `SSL_CERT_FILE` names the platform's mounted
/// bundle. Without it, Mozilla's certificates apply, which are part of the program.
fn add_system(store: &mut RootCertStore, found: Vec<CertificateDer<'static>>) {
    let (usable, _) = store.add_parsable_certificates(found);
    if usable == 0 {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
}

struct Resolver(Names);

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let known = (self.0)(name.as_str());
        Box::pin(async move {
            let addresses: Vec<_> = match known {
                Some(address) => vec![address],
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
