//! The storage servers that tests use: that they are what they say, and that what is put before them does what it is told.

use anyhow::{Context as _, Result, ensure};
use devcluster::stores::{
    Answer, Authority, Call, Fault, ForwardProxy, Gate, Hosts, Keys, Latch, Moto, MotoOptions, OTHER_ACCOUNT,
    ProxyOptions, Seaweed, SeaweedOptions, Target, When,
};
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const REGION: &str = "us-east-1";

/// A call of S3 and its status.
async fn status(target: &Target, keys: &Keys, method: Method, path: &str) -> Result<u16> {
    Ok(s3(target, keys, method, path, b"").await?.status)
}

async fn s3(target: &Target, keys: &Keys, method: Method, path: &str, body: &[u8]) -> Result<Answer> {
    target
        .call(Call::new(method, path).body(body).signed(keys, "s3", REGION))
        .await
}

#[tokio::test]
async fn moto_asks_for_signatures_and_rights() -> Result<()> {
    let moto = Moto::start(MotoOptions {
        authorisation: true,
        ..Default::default()
    })
    .await?;
    let statements = json!([{ "Effect": "Allow", "Action": ["s3:CreateBucket", "s3:PutObject"], "Resource": "*" }]);
    let user = moto.user("registry", &statements).await?;
    let target = moto.target();
    ensure!(status(target, &user, Method::PUT, "/first").await? == 200);
    ensure!(status(target, &user, Method::PUT, "/first/key").await? == 200);
    let refused = s3(target, &user, Method::GET, "/first/key", b"").await?;
    ensure!(
        (refused.status, refused.element("Code")) == (403, Some("AccessDenied".into())),
        "{refused:?}"
    );

    let forged = Keys::new(&user.id, "wrong");
    let refused = s3(target, &forged, Method::GET, "/first", b"").await?;
    ensure!(
        refused.element("Code").as_deref() == Some("SignatureDoesNotMatch"),
        "{refused:?}"
    );
    let unknown = Keys::new("AKIAIOSFODNN7EXAMPLE", "wrong");
    let refused = s3(target, &unknown, Method::GET, "/first", b"").await?;
    ensure!(
        refused.element("Code").as_deref() == Some("InvalidAccessKeyId"),
        "{refused:?}"
    );

    let other = moto.admin_of(OTHER_ACCOUNT);
    let taken = s3(target, other, Method::PUT, "/first", b"").await?;
    ensure!(
        taken.element("Code").as_deref() == Some("BucketAlreadyExists"),
        "{taken:?}"
    );

    moto.allow_user(
        devcluster::stores::ACCOUNT,
        "registry",
        &json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]),
    )
    .await?;
    ensure!(status(target, &user, Method::GET, "/first/key").await? == 200);
    moto.delete_key(devcluster::stores::ACCOUNT, "registry", &user).await?;
    ensure!(status(target, &user, Method::GET, "/first/key").await? == 403);
    moto.authorise(false).await?;
    ensure!(status(target, &unknown, Method::GET, "/first/key").await? == 200);

    let key = moto.kms_key(REGION).await?;
    ensure!(key.starts_with("arn:aws:kms:us-east-1:123456789012:key/"), "{key}");
    Ok(())
}

#[tokio::test]
async fn moto_speaks_tls_and_knows_buckets_in_the_host() -> Result<()> {
    let authority = Authority::new("stores")?;
    let moto = Moto::start(MotoOptions {
        authority: Some(authority),
        names: vec!["*.s3.dualstack.us-east-1.amazonaws.com".into()],
        authorisation: true,
    })
    .await?;
    let (target, admin) = (moto.target(), moto.admin());
    ensure!(moto.url().starts_with("https://127.0.0.1:"));
    ensure!(status(target, admin, Method::PUT, "/hosted").await? == 200);
    for host in [
        "hosted.s3.localhost",
        "hosted.s3.test.example",
        "hosted.s3.dualstack.us-east-1.amazonaws.com",
    ] {
        let call = Call::new(Method::PUT, "/key").host(host).signed(admin, "s3", REGION);
        target.call(call).await?.good().context(host)?;
    }
    let listed = s3(target, admin, Method::GET, "/hosted", b"").await?.good()?;
    ensure!(listed.element("Key").as_deref() == Some("key"), "{}", listed.text());
    let call = Call::new(Method::GET, "/hosted/key")
        .host("s3.test.example")
        .signed(admin, "s3", REGION);
    target.call(call).await?.good().context("path style under a name")?;
    Ok(())
}

#[tokio::test]
async fn seaweedfs_stores_over_tls_for_those_it_knows() -> Result<()> {
    let reader = Keys::new("AKIAREADERREADERREAD", "reader-secret");
    let seaweed = Seaweed::start(SeaweedOptions {
        authority: Some(Authority::new("stores")?),
        identities: vec![(reader.clone(), vec!["Read".into(), "List".into()])],
        encryption_key: true,
        ..Default::default()
    })
    .await?;
    let (target, admin) = (seaweed.target(), seaweed.admin());
    ensure!(seaweed.url().starts_with("https://127.0.0.1:"));
    ensure!(status(target, admin, Method::PUT, "/quarry").await? == 200);
    ensure!(s3(target, admin, Method::PUT, "/quarry/key", b"body").await?.status == 200);
    ensure!(s3(target, &reader, Method::GET, "/quarry/key", b"").await?.text() == "body");
    ensure!(status(target, &reader, Method::PUT, "/quarry/key").await? == 403);
    ensure!(
        status(
            target,
            &Keys::new("AKIANOBODYNOBODYNOBO", "x"),
            Method::GET,
            "/quarry/key"
        )
        .await?
            == 403
    );
    for host in ["quarry.s3.localhost", "quarry.s3.test.example"] {
        let call = Call::new(Method::GET, "/key").host(host).signed(admin, "s3", REGION);
        ensure!(target.call(call).await?.good().context(host)?.text() == "body");
    }
    let refused = s3(target, admin, Method::DELETE, "/quarry", b"").await?;
    ensure!(
        refused.element("Code").as_deref() == Some("BucketNotEmpty"),
        "{refused:?}"
    );
    let refused = s3(
        target,
        admin,
        Method::PUT,
        "/quarry?publicAccessBlock",
        b"<PublicAccessBlockConfiguration/>",
    )
    .await?;
    ensure!(refused.status == 501, "{refused:?}");
    let encrypted = Call::new(Method::PUT, "/quarry/secret")
        .headers(&[("x-amz-server-side-encryption", "AES256")])
        .body(b"s");
    target.call(encrypted.signed(admin, "s3", REGION)).await?.good()?;
    ensure!(s3(target, admin, Method::GET, "/quarry/secret", b"").await?.text() == "s");
    Ok(())
}

#[tokio::test]
async fn seaweedfs_without_a_key_stores_nothing_encrypted() -> Result<()> {
    let seaweed = Seaweed::start(SeaweedOptions::default()).await?;
    let (target, admin) = (seaweed.target(), seaweed.admin());
    ensure!(status(target, admin, Method::PUT, "/quarry").await? == 200);
    let encrypted = Call::new(Method::PUT, "/quarry/secret")
        .headers(&[("x-amz-server-side-encryption", "AES256")])
        .body(b"s");
    ensure!(target.call(encrypted.signed(admin, "s3", REGION)).await?.status == 500);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_nothing() -> Result<()> {
    let moto = Moto::start(MotoOptions::default()).await?;
    let (directory, target) = (moto.directory().to_owned(), moto.target().clone());
    ensure!(directory.is_dir());
    drop(moto);
    ensure!(!directory.exists());
    ensure!(target.call(Call::new(Method::GET, "/moto-api/")).await.is_err());
    Ok(())
}

/// A gate before a moto that asks for signatures, with a bucket `quarry`.
async fn gate() -> Result<(Moto, Gate)> {
    let moto = Moto::start(MotoOptions {
        authorisation: true,
        ..Default::default()
    })
    .await?;
    let gate = Gate::start(moto.target(), None, &[])?;
    ensure!(status(gate.target(), moto.admin(), Method::PUT, "/quarry").await? == 200);
    Ok((moto, gate))
}

#[tokio::test]
async fn a_gate_lets_signatures_through_and_tells_what_was_asked() -> Result<()> {
    let authority = Authority::new("stores")?;
    let (moto, plain) = gate().await?;
    let tls = Gate::start(plain.target(), Some(&authority), &[])?;
    let admin = moto.admin();
    let call = Call::new(Method::PUT, "/some%20key?x-id=PutObject")
        .host("quarry.s3.localhost:8443")
        .body(b"body");
    tls.target().call(call.signed(admin, "s3", REGION)).await?.good()?;
    let head = Call::new(Method::HEAD, "/quarry/some%20key").signed(admin, "s3", REGION);
    let head = tls.target().call(head).await?.good()?;
    ensure!(
        head.headers.get("content-length").is_some_and(|length| length == "4"),
        "{head:?}"
    );
    ensure!(
        tls.target()
            .call(Call::new(Method::GET, "/quarry?tagging"))
            .await?
            .status
            >= 400
    );

    ensure!(
        tls.operations() == ["PutObject", "HeadObject", "GetBucketTagging"],
        "{:?}",
        tls.asked()
    );
    let asked = tls.asked();
    ensure!(
        asked[0].url() == "https://quarry.s3.localhost:8443/some%20key?x-id=PutObject",
        "{}",
        asked[0]
    );
    ensure!(asked[0].resource() == ("quarry".into(), "some key".into()));
    ensure!(asked[0].key_id().as_ref() == Some(&admin.id) && asked[0].body.as_ref() == b"body");
    ensure!(!asked[2].is_signed());
    ensure!(asked.iter().map(|asked| asked.number).eq(1..=3) && asked[0].status == 200);
    // What is shown of a request holds no signature.
    ensure!(!format!("{asked:?}").contains(&admin.id));
    Ok(())
}

#[tokio::test]
async fn a_gate_refuses_throttles_delays_and_cuts_where_it_is_told_to() -> Result<()> {
    let (moto, gate) = gate().await?;
    let (target, admin) = (gate.target(), moto.admin());
    let get = || s3(target, admin, Method::GET, "/quarry?location", b"");

    gate.plan(When::operation("GetBucketLocation").nth(2), Fault::slow_down());
    ensure!(get().await?.status == 200);
    let throttled = get().await?;
    ensure!(
        (throttled.status, throttled.element("Code")) == (503, Some("SlowDown".into())),
        "{throttled:?}"
    );
    ensure!(get().await?.status == 200);

    gate.plan(
        When::any().method(Method::HEAD).times(1),
        Fault::error(403, "AccessDenied"),
    );
    let head = s3(target, admin, Method::HEAD, "/quarry", b"").await?;
    ensure!(head.status == 403 && head.body.is_empty());
    ensure!(status(target, admin, Method::HEAD, "/quarry").await? == 200);

    gate.plan(When::any().path("/quarry").query("location").times(1), Fault::Reset);
    let cut = get().await.err().context("an answer in place of a reset")?;
    ensure!(format!("{cut:#}").contains("reset by peer"), "{cut:#}");

    let latch = Latch::closed();
    gate.plan(When::any().times(1), Fault::Hold(latch.clone()));
    let (held, ()) = futures::join!(get(), async {
        let _ = gate
            .until("held request", |asked| {
                asked.last().is_some_and(|last| last.status == 0)
            })
            .await;
        latch.open();
    });
    ensure!(held?.status == 200);

    gate.rule(|_| Fault::Hang);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), get()).await;
    ensure!(waited.is_err());
    gate.pass();
    ensure!(get().await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn a_gate_loses_answers_of_what_was_done_and_runs_hooks() -> Result<()> {
    let (moto, gate) = gate().await?;
    let (target, admin) = (gate.target(), moto.admin());
    let there = |path| status(moto.target(), admin, Method::HEAD, path);

    gate.plan(When::operation("PutObject").times(1), Fault::LoseAnswer);
    ensure!(status(target, admin, Method::PUT, "/quarry/lost").await.is_err());
    ensure!(there("/quarry/lost").await? == 200, "the server did its work");
    ensure!(
        gate.asked()
            .last()
            .is_some_and(|asked| asked.lost && asked.status == 200)
    );

    let (sender, receiver) = std::sync::mpsc::channel();
    for (name, at_once) in [("before", true), ("after", false)] {
        let sender = sender.clone();
        let hook = move |asked: &devcluster::stores::Asked| drop(sender.send((name, asked.resource().1)));
        gate.plan(
            When::any().path(name).times(1),
            if at_once {
                Fault::before(hook)
            } else {
                Fault::after(hook)
            },
        );
        ensure!(
            status(target, admin, Method::PUT, &format!("/quarry/{name}"))
                .await
                .is_err()
        );
    }
    ensure!(
        receiver
            .try_iter()
            .eq([("before", "before".to_owned()), ("after", "after".to_owned())])
    );
    ensure!((there("/quarry/before").await?, there("/quarry/after").await?) == (404, 200));

    gate.plan(When::operation("CreateBucket"), Fault::Twice);
    let europe =
        b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    let twice = Call::new(Method::PUT, "/twice")
        .body(europe)
        .signed(admin, "s3", "eu-west-1");
    let twice = target.call(twice).await?;
    ensure!(
        twice.element("Code").as_deref() == Some("BucketAlreadyOwnedByYou"),
        "{twice:?}"
    );

    gate.plan(
        When::operation("GetObject"),
        Fault::change(|_, answer| *answer.body_mut() = "changed".into()),
    );
    ensure!(s3(target, admin, Method::GET, "/quarry/after", b"").await?.text() == "changed");
    Ok(())
}

/// Sends text to an address and gives what comes back until the connection ends, or `end` has come.
async fn converse(stream: &mut TcpStream, text: &str, end: &str) -> Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains(end) {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "ended after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_forward_proxy_knows_hosts_and_counts() -> Result<()> {
    let moto = Moto::start(MotoOptions::default()).await?;
    let proxy = ForwardProxy::start(ProxyOptions {
        hosts: Hosts::new().with("*.test.example", moto.target().address),
        credentials: Some(("user".into(), "word".into())),
    })?;
    ensure!(proxy.url() == format!("http://user:word@{}", proxy.address()));
    let who = "Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n";

    let mut stream = TcpStream::connect(proxy.address()).await?;
    let absolute = "GET http://s3.test.example/moto-api/ HTTP/1.1\r\nHost: s3.test.example\r\n";
    let refused = converse(&mut stream, &format!("{absolute}\r\n"), "you?").await?;
    ensure!(refused.starts_with("HTTP/1.1 407 "), "{refused}");
    let answer = converse(&mut stream, &format!("{absolute}{who}\r\n"), "</html>").await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut stream = TcpStream::connect(proxy.address()).await?;
    let opened = converse(
        &mut stream,
        &format!("CONNECT s3.test.example:443 HTTP/1.1\r\n{who}\r\n"),
        "\r\n\r\n",
    )
    .await?;
    ensure!(opened.starts_with("HTTP/1.1 200 "), "{opened}");
    let answer = converse(
        &mut stream,
        "GET /moto-api/ HTTP/1.1\r\nHost: s3.test.example\r\n\r\n",
        "</html>",
    )
    .await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut stream = TcpStream::connect(proxy.address()).await?;
    let unknown = converse(
        &mut stream,
        &format!("CONNECT example.com:443 HTTP/1.1\r\n{who}\r\n"),
        "know",
    )
    .await?;
    ensure!(unknown.starts_with("HTTP/1.1 502 "), "{unknown}");
    proxy.refuse(Some(503));
    let mut stream = TcpStream::connect(proxy.address()).await?;
    let refused = converse(
        &mut stream,
        &format!("CONNECT s3.test.example:443 HTTP/1.1\r\n{who}\r\n"),
        "test",
    )
    .await?;
    ensure!(refused.starts_with("HTTP/1.1 503 "), "{refused}");

    let seen: Vec<_> = proxy
        .seen()
        .into_iter()
        .map(|seen| (seen.target, seen.status))
        .collect();
    let expected = [
        ("http://s3.test.example/moto-api/", 407),
        ("http://s3.test.example/moto-api/", 200),
        ("s3.test.example:443", 200),
        ("example.com:443", 502),
        ("s3.test.example:443", 503),
    ];
    ensure!(
        seen == expected.map(|(target, status)| (target.to_owned(), status)),
        "{seen:?}"
    );
    Ok(())
}
