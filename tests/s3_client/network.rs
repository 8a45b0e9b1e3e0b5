//! Whom connections trust, and which way they go.

use devcluster::stores::{Authority, ForwardProxy, Gate, Hosts, ProxyOptions, Reply};
use image_registry_operator::api::Sensitive;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::net::http::Egress;

use crate::bench::{Access, Bench, answering, ok};

const HOST: &str = "s3.test.example";

fn through(proxy: &ForwardProxy) -> Proxies {
    let url = || Some(Sensitive::new(proxy.url()));
    Proxies {
        http: url(),
        https: url(),
        no_proxy: None,
    }
}

fn proxy(gate: &Gate) -> ForwardProxy {
    ForwardProxy::start(ProxyOptions {
        hosts: Hosts::new().with(HOST, gate.target().address),
        credentials: None,
    })
    .unwrap()
}

// storage-s3 45
#[tokio::test]
async fn a_change_of_the_proxy_counts_from_the_next_request_on() {
    let authority = Authority::new("store").unwrap();
    for tls in [None, Some(&authority)] {
        let gate = answering(tls, &[], |_| ok());
        let (first, second) = (proxy(&gate), proxy(&gate));
        let seen = || (first.seen().len(), second.seen().len());
        let bench = Bench::new();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let access = Access::at(&format!("{scheme}://{HOST}")).trusting(&authority);
        let bucket = bench.bucket(&access);
        *bench.proxies.lock().unwrap() = through(&first);
        bucket.head().await.unwrap();
        assert_eq!(seen(), (1, 0));
        // The connection through the first one still stands.
        *bench.proxies.lock().unwrap() = through(&second);
        bucket.head().await.unwrap();
        assert_eq!(seen(), (1, 1));
        *bench.proxies.lock().unwrap() = Proxies {
            no_proxy: Some("elsewhere.example, .test.example".to_owned()),
            ..through(&first)
        };
        let error = bucket.head().await.unwrap_err();
        assert!(
            error.message.starts_with("DNS: "),
            "reached directly, and nobody knows the name: {error}"
        );
        assert_eq!(seen(), (1, 1));
        *bench.proxies.lock().unwrap() = through(&first);
        bucket.head().await.unwrap();
        assert_eq!(gate.asked().len(), 3);
    }
}

// storage-decisions 28
#[tokio::test]
async fn hosts_domains_and_networks_are_reached_directly() {
    let gate = answering(None, &[], |_| ok());
    let port = gate.target().address.port();
    let proxy = proxy(&gate);
    for (no_proxy, host, direct) in [
        ("10.0.0.0/8, .svc", "127.0.0.1", true),
        ("", "127.0.0.1", true),
        ("", "localhost", true),
        ("elsewhere.example, *.test.example", HOST, true),
        (&format!("{HOST}:{port}"), HOST, true),
        (&format!("*.test.example:{port}"), HOST, true),
        ("s3.test.example:9", HOST, false),
        (".s3.test.example", HOST, false),
        (".test.example", HOST, true),
        ("test.example", HOST, true),
        ("s3.test.example", HOST, true),
        ("3.test.example", HOST, false),
        ("*", HOST, true),
        ("", HOST, false),
    ] {
        let bench = Bench::new().knowing(&[(HOST, gate.target().address)]);
        let mut access = Access::at(&format!("http://{host}:{port}"));
        access.egress = Egress::Fixed(Proxies {
            no_proxy: Some(no_proxy.to_owned()),
            ..through(&proxy)
        });
        let before = proxy.seen().len();
        bench.bucket(&access).head().await.unwrap();
        assert_eq!(proxy.seen().len() == before, direct, "NO_PROXY={no_proxy} {host}");
    }
}

// storage-decisions 27
#[tokio::test]
async fn a_self_signed_server_certificate_with_the_ca_flag_is_trusted_if_it_is_in_the_bundle() {
    let authority = Authority::self_signed_server("store").unwrap();
    let gate = answering(Some(&authority), &[], |_| ok());
    let port = gate.target().address.port();
    let bench = Bench::new().knowing(&[
        ("s3.test.example", gate.target().address),
        ("other.example", gate.target().address),
    ]);
    for host in ["127.0.0.1", "localhost", HOST] {
        let access = Access::at(&format!("https://{host}:{port}"));
        bench.bucket(&access.clone().trusting(&authority)).head().await.unwrap();
        let mut among_others = access.clone().trusting(&Authority::new("another").unwrap());
        among_others.trust.bundle.push_str(authority.pem());
        bench.bucket(&among_others).head().await.unwrap();

        let stranger = access.trusting(&Authority::new("another").unwrap());
        let error = bench.bucket(&stranger).head().await.unwrap_err();
        assert!(
            error.message.contains("CA flag") && error.message.contains("CA bundle"),
            "{error}"
        );
    }
    let named = Access::at(&format!("https://other.example:{port}")).trusting(&authority);
    let error = bench.bucket(&named).head().await.unwrap_err();
    assert!(error.message.contains("another name"), "{error}");
    assert_eq!(gate.asked().len(), 6);
}

#[tokio::test]
async fn the_registrys_way_out_is_its_own() {
    let gate = answering(None, &[], |_| ok());
    let (ours, theirs) = (proxy(&gate), proxy(&gate));
    let bench = Bench::new();
    *bench.proxies.lock().unwrap() = through(&ours);
    let mut access = Access::at(&format!("http://{HOST}"));
    access.egress = Egress::Fixed(through(&theirs));
    bench.bucket(&access).head().await.unwrap();
    assert_eq!((ours.seen().len(), theirs.seen().len()), (0, 1));
}

#[tokio::test]
async fn a_proxy_gets_its_password_and_nobody_sees_it() {
    let authority = Authority::new("store").unwrap();
    for tls in [None, Some(&authority)] {
        let gate = answering(tls, &[], |_| ok());
        let proxy = ForwardProxy::start(ProxyOptions {
            hosts: Hosts::new().with(HOST, gate.target().address),
            credentials: Some(("user".into(), "hunter2".into())),
        })
        .unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut access = Access::at(&format!("{scheme}://{HOST}")).trusting(&authority);
        access.egress = Egress::Fixed(through(&proxy));
        Bench::new().bucket(&access).head().await.unwrap();
        assert!(gate.asked()[0].header("proxy-authorization").is_none());

        proxy.refuse(Some(407));
        let error = Bench::new().bucket(&access).put_tags(&[]).await.unwrap_err();
        if tls.is_some() {
            assert!(error.message.starts_with("proxy: "), "{error}");
        } else {
            assert_eq!(error.code, "ProxyAuthenticationRequired");
        }
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let elsewhere = answering(None, &[], |_| ok());
    let url = elsewhere.url();
    for status in [301, 302, 307, 308] {
        let to = url.clone();
        let gate = answering(None, &[], move |_| {
            Reply::error(status, "Redirect", "there").header("location", &to)
        });
        let bucket = Bench::new().bucket(&Access::at(&gate.url()));
        assert!(bucket.put_tags(&[]).await.is_err());
        assert!(bucket.delete_bucket().await.is_err());
    }
    assert_eq!(elsewhere.asked().len(), 0);
}
