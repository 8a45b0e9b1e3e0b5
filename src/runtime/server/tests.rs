use std::fs;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

struct Serving {
    address: std::net::SocketAddr,
    roots: RootCertStore,
    readiness: Readiness,
    _files: tempfile::TempDir,
}

fn pair() -> (tempfile::TempDir, KeyPair, RootCertStore) {
    let certified = rcgen::generate_simple_self_signed(vec!["operator.test".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pair = KeyPair {
        certificate: dir.path().join("tls.crt"),
        key: dir.path().join("tls.key"),
    };
    fs::write(&pair.certificate, certified.cert.pem()).unwrap();
    fs::write(&pair.key, certified.signing_key.serialize_pem()).unwrap();
    PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&pair.certificate).unwrap())
        .unwrap();
    (dir, pair, roots)
}

fn info(min_tls_version: &str) -> ServingInfo {
    ServingInfo {
        bind_address: "127.0.0.1:0".to_owned(),
        min_tls_version: min_tls_version.to_owned(),
        ..ServingInfo::default()
    }
}

async fn serving(info: ServingInfo) -> Serving {
    let (files, pair, roots) = pair();
    let server = Server::bind(&info, &ServingCertificate::Files(pair)).await.unwrap();
    let (address, readiness) = (server.address().unwrap(), Readiness::default());
    tokio::spawn(server.serve(Arc::new(Metrics::new("1")), readiness.clone()));
    Serving {
        address,
        roots,
        readiness,
        _files: files,
    }
}

impl Serving {
    /// Status line, headers and body, or the error.
    async fn get(
        &self,
        path: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[u8],
    ) -> io::Result<String> {
        let mut stream = self.connect(versions, alpn).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    async fn connect(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[u8],
    ) -> io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.to_vec()];
        }
        let name = ServerName::try_from("operator.test").unwrap();
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    async fn get_default(&self, path: &str) -> String {
        self.get(path, rustls::DEFAULT_VERSIONS, b"http/1.1").await.unwrap()
    }
}

// lifecycle 8, deploy 36
#[tokio::test]
async fn only_three_paths_are_served_over_https_without_credentials() {
    let serving = serving(info("")).await;
    let metrics = serving.get_default("/metrics").await;
    assert!(
        metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("# EOF"),
        "{metrics}"
    );
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    assert!(serving.get_default("/healthz").await.starts_with("HTTP/1.1 200 "));
    for path in ["/foo", "/", "/metrics/x", "/debug/pprof"] {
        assert!(serving.get_default(path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    // A client that offers only HTTP/2 fails in the handshake; a client without ALPN is served.
    assert!(serving.get("/metrics", rustls::DEFAULT_VERSIONS, b"h2").await.is_err());
    assert!(serving.get("/metrics", rustls::DEFAULT_VERSIONS, b"").await.is_ok());
    // Plain HTTP.
    let mut tcp = TcpStream::connect(serving.address).await.unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));
}

// deploy 35
#[tokio::test]
async fn a_certificate_of_its_own_serves() {
    let own = OwnCertificate::new(Arc::new(crate::runtime::clock::SystemClock));
    let server = Server::bind(&info(""), &ServingCertificate::Own(own)).await.unwrap();
    let address = server.address().unwrap();
    tokio::spawn(server.serve(Arc::new(Metrics::new("1")), Readiness::default()));
    let stream = TcpStream::connect(address).await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let refused = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap_err();
    let cause = refused
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    // The handshake came as far as the certificate, which signs itself.
    assert!(matches!(cause, Some(rustls::Error::InvalidCertificate(_))), "{refused}");
}

// lifecycle 4, deploy 24; and lifecycle 1: the default minimum is 1.2
#[tokio::test]
async fn the_minimum_tls_version_is_enforced() {
    let strict = serving(info("VersionTLS13")).await;
    assert!(strict.get("/metrics", &[&rustls::version::TLS12], b"").await.is_err());
    assert!(strict.get("/metrics", &[&rustls::version::TLS13], b"").await.is_ok());
    let usual = serving(info("")).await;
    assert!(usual.get("/metrics", &[&rustls::version::TLS12], b"").await.is_ok());
}

/// Whether the server answers a request on a connection that stays open.
async fn answers(stream: &mut TlsStream<TcpStream>) -> bool {
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut answer = [0; 1024];
    asked.is_ok() && matches!(stream.read(&mut answer).await, Ok(read) if answer[..read].starts_with(b"HTTP/1.1 200 "))
}

// Otherwise every pod of the cluster could get the operator killed by its liveness probe.
#[tokio::test]
async fn connections_that_stay_open_never_block_the_liveness_probe() {
    let serving = serving(info("")).await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(serving.connect(rustls::DEFAULT_VERSIONS, b"").await.unwrap());
    }
    assert!(answers(&mut open[0]).await);
    for _ in 0..3 {
        let probe = tokio::time::timeout(Duration::from_secs(1), serving.get_default("/healthz")).await;
        assert!(probe.expect("no answer within a second").starts_with("HTTP/1.1 200 "));
    }
    assert!(answers(&mut open[0]).await, "it was used after the others");
    assert!(!answers(&mut open[1]).await, "it has been idle longest");
}

#[tokio::test]
async fn readiness_follows_leadership_and_sync() {
    let serving = serving(info("")).await;
    assert!(serving.get_default("/readyz").await.starts_with("HTTP/1.1 200 "));
    serving.readiness.set_leading();
    assert!(serving.get_default("/readyz").await.starts_with("HTTP/1.1 503 "));
    serving.readiness.set_synced(true);
    assert!(serving.get_default("/readyz").await.starts_with("HTTP/1.1 200 "));
}

// lifecycle 7, the part of this room
#[tokio::test]
async fn an_error_names_a_missing_key_or_a_port_in_use() {
    let (_files, pair, _) = pair();
    let taken = Server::bind(&info(""), &ServingCertificate::Files(pair.clone()))
        .await
        .unwrap();
    let mut busy = info("");
    busy.bind_address = taken.address().unwrap().to_string();
    let error = Server::bind(&busy, &ServingCertificate::Files(pair.clone()))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(&busy.bind_address), "{error}");
    fs::remove_file(&pair.key).unwrap();
    let error = Server::bind(&info(""), &ServingCertificate::Files(pair.clone()))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("tls.key"), "{error}");
}

#[tokio::test]
async fn bind_addresses_are_parsed() {
    for (address, right) in [
        (":0", true),
        ("[::1]:0", true),
        ("127.0.0.1:0", true),
        ("60000", false),
        (":x", false),
    ] {
        assert_eq!(listen(address).await.is_ok(), right, "{address}");
    }
}

// lifecycle 2, deploy 23. The port may be in use on this machine: then the error names it.
#[tokio::test]
async fn an_empty_address_is_port_60000() {
    let (_files, pair, _) = pair();
    match Server::bind(&ServingInfo::default(), &ServingCertificate::Files(pair)).await {
        Ok(server) => assert_eq!(server.address().unwrap().port(), 60000),
        Err(error) => assert!(error.to_string().contains(" :60000: "), "{error}"),
    }
}
