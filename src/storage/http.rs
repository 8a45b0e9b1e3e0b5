//! HTTP to clouds: one client for each set of roots and way out, made when it is first needed, and kept.
//!
//! No variable of the environment counts here but `SSL_CERT_FILE` and `SSL_CERT_DIR`, which say where the system's roots
//! are; where there are none, Mozilla's count. Redirects are answers like others: nobody is led elsewhere with a signed
//! request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{NoProxy, Proxy, Url, redirect};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::api::Sensitive;
use crate::storage::answers::Fingerprint;
use crate::storage::fault::Fault;

mod cause;

pub(super) use cause::cause;

/// Name, connection and TLS handshake together.
const CONNECT: Duration = Duration::from_secs(30);
/// One request, from the first byte sent to the last byte read.
const REQUEST: Duration = Duration::from_mins(1);
/// A connection that nobody uses is closed after this time.
const IDLE: Duration = Duration::from_secs(90);
/// Between probes of a connection that is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections to one server that are kept while nobody uses them.
const IDLE_CONNECTIONS: usize = 2;
/// Clients that are kept: S3 and STS, as the operator and as the registry, before and after a change.
const CLIENTS: usize = 8;

/// The way out of the cluster, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`; may hold a password.
    pub http: Option<Sensitive>,
    /// For `https://`; may hold a password.
    pub https: Option<Sensitive>,
    /// Hosts, domains and networks that are reached directly, separated by commas.
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// All of it, for fingerprints.
    pub(super) fn texts(&self) -> [&str; 3] {
        let [http, https] = [&self.http, &self.https].map(|url| url.as_ref().map_or("", Sensitive::expose));
        [http, https, self.no_proxy.as_deref().unwrap_or_default()]
    }
}

/// Whose way out is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The operator's own, asked for at each request: the platform may change it.
    Process,
    /// That of the registry's pods.
    Fixed(Proxies),
}

/// Who is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates in PEM; may be empty.
    pub bundle: String,
    /// Whether the system's roots count too.
    pub system: bool,
}

impl Trust {
    /// All of it, for fingerprints.
    fn texts(&self) -> [&str; 2] {
        [&self.bundle, if self.system { "system" } else { "" }]
    }
}

/// Tells the address of a name, where it is not to be asked of the system.
pub type Names = Arc<dyn Fn(&str) -> Option<SocketAddr> + Send + Sync>;

/// Makes clients and keeps them.
pub struct Http {
    proxies: Arc<dyn Fn() -> Proxies + Send + Sync>,
    names: Option<Names>,
    /// How long one request may take.
    timeout: Duration,
    /// The one used last stands first; the key spares keeping bundles and passwords a second time.
    kept: Mutex<Vec<(Fingerprint, reqwest::Client)>>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// `proxies` tells the operator's own way out, at each request. Nothing is made yet.
    pub fn new(proxies: impl Fn() -> Proxies + Send + Sync + 'static) -> Self {
        Self {
            proxies: Arc::new(proxies),
            names: None,
            timeout: REQUEST,
            kept: Mutex::default(),
        }
    }

    /// Names that `names` knows are not asked of the system; for tests.
    #[must_use]
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = Some(names);
        self
    }

    /// One request may take this long; for tests.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The client for these roots and this way out, as it is now: ask again for each request, since the operator's own way
    /// out may change, and a connection that stands would go on through the old one.
    ///
    /// A bundle without a certificate and a proxy that is no URL are faults.
    pub fn client(&self, trust: &Trust, via: &Via) -> Result<reqwest::Client, Fault> {
        let proxies = match via {
            Via::Process => (self.proxies)(),
            Via::Fixed(proxies) => proxies.clone(),
        };
        let key = key(trust, &proxies);
        if let Some(client) = self.find(&key) {
            return Ok(client);
        }
        let client = build(trust, &proxies, self.names.clone(), self.timeout)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(0, (key, client.clone()));
        kept.truncate(CLIENTS);
        Ok(client)
    }

    /// Tells roots and way out apart, without showing them. The operator's own way out is one, whatever it leads through.
    pub(super) fn path(trust: &Trust, via: &Via) -> Fingerprint {
        match via {
            Via::Process => Fingerprint::of(trust.texts()),
            Via::Fixed(proxies) => key(trust, proxies),
        }
    }

    /// What is secret in the way out, so that it can be kept out of messages.
    pub(super) fn secrets(&self, via: &Via) -> Vec<Sensitive> {
        let proxies = match via {
            Via::Process => (self.proxies)(),
            Via::Fixed(proxies) => proxies.clone(),
        };
        let urls = [proxies.http, proxies.https].into_iter().flatten();
        urls.filter_map(|url| {
            let (user, _) = url.expose().rsplit_once('@')?;
            let (_, password) = user.rsplit_once("//").map_or(user, |(_, u)| u).split_once(':')?;
            Some(Sensitive::new(password))
        })
        .collect()
    }

    fn find(&self, key: &Fingerprint) -> Option<reqwest::Client> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(other, _)| other == key)?;
        kept[..=place].rotate_right(1);
        kept.first().map(|(_, client)| client.clone())
    }
}

fn key(trust: &Trust, proxies: &Proxies) -> Fingerprint {
    Fingerprint::of(trust.texts().into_iter().chain(proxies.texts()))
}

fn build(trust: &Trust, proxies: &Proxies, names: Option<Names>, timeout: Duration) -> Result<reqwest::Client, Fault> {
    let crypto = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(provider::default_provider()));
    let unusable = |error: &dyn fmt::Display| Fault::transient(format!("cannot set up TLS: {error}"));
    let mut tls = ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_root_certificates(roots(trust)?)
        .with_no_client_auth();
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
        .no_proxy(); // None but those that were asked for.
    for (variable, url, make) in [
        ("HTTP_PROXY", &proxies.http, Proxy::http as fn(_) -> _),
        ("HTTPS_PROXY", &proxies.https, Proxy::https),
    ] {
        if let Some(url) = url.as_ref().filter(|url| !url.is_empty()) {
            let url = proxy_url(url).ok_or_else(|| no_proxy_url(variable))?;
            let proxy: Proxy = make(url).map_err(|_| no_proxy_url(variable))?;
            builder = builder.proxy(proxy.no_proxy(proxies.no_proxy.as_deref().and_then(NoProxy::from_string)));
        }
    }
    if let Some(names) = names {
        builder = builder.dns_resolver(Resolver(names));
    }
    builder.build().map_err(|error| unusable(&cause(&error)))
}

/// The library takes what it does not understand for "no proxy", and would go out directly.
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

/// The value may hold a password: it is not shown.
fn no_proxy_url(variable: &str) -> Fault {
    Fault::config(format!(
        "{variable} is not the URL of a proxy: it should read http://HOST:PORT or https://HOST:PORT"
    ))
}

fn roots(trust: &Trust) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    if !trust.bundle.trim().is_empty() {
        let found = CertificateDer::pem_slice_iter(trust.bundle.as_bytes()).filter_map(Result::ok);
        let (usable, _) = store.add_parsable_certificates(found);
        if usable == 0 {
            return Err(Fault::config(
                "the CA bundle of the storage holds no certificate: it should hold certificates in PEM",
            ));
        }
    }
    if trust.system {
        add_system(&mut store, rustls_native_certs::load_native_certs().certs);
    }
    Ok(store)
}

/// The operator's image has no files of roots; the platform's bundle is mounted and named by `SSL_CERT_FILE`, and where it
/// is not there, Mozilla's roots count, which are part of the program.
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
