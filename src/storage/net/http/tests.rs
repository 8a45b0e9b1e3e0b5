use super::*;
use crate::storage::model::error::ErrorClass;

fn certificate(name: &str) -> String {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    made.cert.pem()
}

fn trust(bundle: &str) -> Trust {
    Trust {
        bundle: bundle.to_owned(),
        system: false,
        unverified: false,
    }
}

fn cached(http: &Http) -> usize {
    http.cached.lock().unwrap().len()
}

fn egress(https: &str) -> Egress {
    Egress::Fixed(Proxies {
        https: Some(Sensitive::new(https)),
        ..Proxies::default()
    })
}

#[test]
fn nothing_is_made_before_it_is_needed_and_nothing_twice() {
    let http = Http::new(Proxies::default);
    assert_eq!(cached(&http), 0);
    let trust = trust(&certificate("ca.example"));
    for _ in 0..3 {
        http.client(&trust, &Egress::Process).unwrap();
    }
    assert_eq!(cached(&http), 1);
    http.client(&trust, &egress("http://proxy.example:3128")).unwrap();
    assert_eq!(cached(&http), 2);
}

#[test]
fn few_clients_are_kept_and_those_in_use_longest() {
    let http = Http::new(Proxies::default);
    let trust = trust(&certificate("ca.example"));
    for number in 0..3 * CLIENTS {
        http.client(&trust, &Egress::Process).unwrap();
        http.client(&trust, &egress(&format!("http://proxy{number}.example")))
            .unwrap();
    }
    assert_eq!(cached(&http), CLIENTS);
    let used = http.cached.lock().unwrap()[1].0.clone();
    assert_eq!(used, key(&trust, &Proxies::default()));
}

#[test]
fn a_bundle_without_a_certificate_is_an_error_of_the_configuration() {
    let http = Http::new(Proxies::default);
    let wrong = [
        "no PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ];
    for bundle in wrong {
        let error = http.client(&trust(bundle), &Egress::Process).unwrap_err();
        assert_eq!(error.class, ErrorClass::ActionRequired);
        assert!(error.message.contains("no certificate"), "{}", error.message);
    }
    let among_others = format!("{}\n{}", wrong[1], certificate("ca.example"));
    http.client(&trust(&among_others), &Egress::Process).unwrap();
}

#[test]
fn a_proxy_that_is_no_url_is_named_by_its_variable_and_never_shown() {
    for url in ["ftp://user:hunter2@proxy.example", "http://user:hunter2@", "://hunter2"] {
        let error = Http::new(Proxies::default)
            .client(&trust(""), &egress(url))
            .unwrap_err();
        assert!(error.message.contains("HTTPS_PROXY"), "{}", error.message);
        assert!(!error.message.contains("hunter2"), "{}", error.message);
    }
    // As curl takes it, too.
    Http::new(Proxies::default)
        .client(&trust(""), &egress("proxy.example:3128"))
        .unwrap();
}

#[test]
fn passwords_of_proxies_are_known_as_secrets() {
    let http = Http::new(Proxies::default);
    let password = |url: &str| http.secrets(&egress(url));
    let all = |texts: [&str; 3]| texts.map(Sensitive::new);
    for (url, written, decoded, header) in [
        (
            "http://user:hunter2@proxy.example:3128",
            "hunter2",
            "hunter2",
            "dXNlcjpodW50ZXIy",
        ),
        ("user:hunter2@proxy.example", "hunter2", "hunter2", "dXNlcjpodW50ZXIy"),
        (
            "https://user:p%40ss%3Aw%C3%B6rd@proxy",
            "p%40ss%3Aw%C3%B6rd",
            "p@ss:w\u{f6}rd",
            "dXNlcjpwQHNzOnfDtnJk",
        ),
        ("http://us%40er:a:b@c@proxy", "a:b@c", "a:b@c", "dXNAZXI6YTpiQGM="),
        ("http://user:100%@proxy", "100%", "100%", "dXNlcjoxMDAl"),
        ("http://user:%zz%4@proxy", "%zz%4", "%zz%4", "dXNlcjolenolNA=="),
    ] {
        assert_eq!(password(url), all([written, decoded, header]), "{url}");
    }
    for url in [
        "http://proxy.example:3128",
        "http://user@proxy.example",
        "proxy:3128",
        "",
    ] {
        assert_eq!(password(url), [], "{url}");
    }
}

// deploy 33, deploy 34
#[test]
fn the_systems_roots_are_those_of_the_bundle_that_is_mounted_or_else_those_that_are_built_in() {
    let mut store = RootCertStore::empty();
    add_system(&mut store, Vec::new());
    assert_eq!(store.len(), webpki_roots::TLS_SERVER_ROOTS.len());

    let own = certificate("ca.example");
    let mut store = RootCertStore::empty();
    add_system(
        &mut store,
        vec![CertificateDer::from_pem_slice(own.as_bytes()).unwrap()],
    );
    assert_eq!(store.len(), 1);
}
