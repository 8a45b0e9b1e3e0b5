//! A gate: a proxy in front of a storage server that injects faults.

use super::{REGION, s3, status};
use anyhow::{Context as _, Result, ensure};
use devcluster::stores::{Asked, Authority, Call, Fault, Gate, GateOptions, Latch, Moto, When};
use hyper::Method;

/// A gate in front of a moto server that checks signatures, with a bucket `quarry`.
async fn gate() -> Result<(&'static Moto, Gate)> {
    let moto = Moto::shared().await?;
    let gate = Gate::start(moto.target(), None, &[])?;
    ensure!(status(moto.target(), moto.admin(), Method::PUT, "/quarry").await? == 200);
    Ok((moto, gate))
}

#[tokio::test]
async fn a_gate_forwards_signed_requests_and_records_them() -> Result<()> {
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
    // The printed form of a request contains no signature.
    ensure!(!format!("{asked:?}").contains(&admin.id));
    Ok(())
}

#[tokio::test]
async fn a_gate_reaches_a_server_that_was_restarted() -> Result<()> {
    let (moto, inner) = gate().await?;
    let outer = Gate::start(inner.target(), None, &[])?;
    let get = || s3(outer.target(), moto.admin(), Method::GET, "/quarry?location", b"");
    ensure!(get().await?.status == 200);
    ensure!(get().await?.status == 200, "on the connection that was kept");
    let address = inner.target().address;
    drop(inner);
    ensure!(get().await.is_err(), "there is no server");
    let again = Gate::with(GateOptions {
        address,
        routes: vec![("*".to_owned(), moto.target().clone())],
        authority: None,
        names: Vec::new(),
    })?;
    ensure!(get().await?.status == 200);
    ensure!(again.asked().len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_gate_refuses_throttles_delays_and_cuts_chosen_requests() -> Result<()> {
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
async fn a_gate_drops_responses_of_executed_requests_and_runs_hooks() -> Result<()> {
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
        let hook = move |asked: &Asked| drop(sender.send((name, asked.resource().1)));
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
