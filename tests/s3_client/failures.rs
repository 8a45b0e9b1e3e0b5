//! What goes wrong, how often it is tried again, and what is said about it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::Ordering;
use std::time::Duration;

use devcluster::stores::{Authority, Fault, Gate, Keys, Reply, When};
use image_registry_operator::api::Sensitive;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::backend::s3::profile::Profile;
use image_registry_operator::storage::backend::s3::session::Token;
use image_registry_operator::storage::model::call::{CallError, Cause};
use image_registry_operator::storage::model::error::ErrorClass;
use image_registry_operator::storage::net::http::Egress;
use image_registry_operator::storage::s3api::client::{Bucket, Entry, KeyError, ObjectEncryption};

use crate::bench::{Access, Bench, answering, in_turn, ok};

const EMPTY: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

async fn head(answers: Vec<Reply>) -> (Gate, Result<(), CallError>) {
    let gate = answering(None, &[], in_turn(answers));
    let answer = Bench::new().bucket(&Access::at(&gate.url())).head().await;
    (gate, answer)
}

// storage-s3 29
#[tokio::test]
async fn a_bucket_of_another_region_is_said_to_be_there() {
    let moved = Reply::new(301, "").header("x-amz-bucket-region", "eu-north-1");
    let (gate, answer) = head(vec![moved]).await;
    let error = answer.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.cause),
        ("BucketRegionError", Cause::Answer(301))
    );
    assert_eq!(error.region.as_deref(), Some("eu-north-1"));
    assert!(error.to_string().contains("eu-north-1"), "{error}");
    assert!(error.is_undecided() && !error.is_missing() && !error.is_denied());
    assert_eq!(gate.asked().len(), 1, "nobody was followed elsewhere");
}

// storage-s3 28, storage-decisions T18
#[tokio::test]
async fn what_head_cannot_say_is_asked_of_the_location() {
    for (status, code) in [
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "AccessDenied"),
        (400, "ExpiredToken"),
    ] {
        let nameless = Reply::new(status, "").header("x-amz-bucket-region", "eu-west-1");
        let (gate, answer) = head(vec![nameless, Reply::error(status, code, "because")]).await;
        let error = answer.unwrap_err();
        assert_eq!((error.code.as_str(), error.cause), (code, Cause::Answer(status)));
        assert_eq!(error.action, "s3:ListBucket");
        assert!(error.message.contains("because") && error.is_denied(), "{error}");
        assert_eq!(gate.operations(), ["HeadBucket", "GetBucketLocation"]);
    }
}

// storage-s3 27
#[tokio::test]
async fn a_head_that_is_refused_is_no_proof_that_the_bucket_is_missing() {
    for (status, code) in [(403, "Forbidden"), (400, "BadRequest")] {
        let missing = Reply::error(404, "NoSuchBucket", "because");
        let (gate, answer) = head(vec![Reply::new(status, ""), missing]).await;
        let error = answer.unwrap_err();
        // The code is the one that belongs to the advice about rights.
        assert_eq!((error.code.as_str(), error.cause), (code, Cause::Answer(status)));
        assert!(
            error.message.contains("s3:GetBucketLocation answers NoSuchBucket"),
            "{error}"
        );
        assert_eq!(error.is_denied(), status == 403);
        assert!(!error.is_missing() && !error.is_container_gone());
        assert!(!error.is_forbidden(), "nothing is created where it cannot be seen");
        assert_eq!(gate.operations(), ["HeadBucket", "GetBucketLocation"]);
    }
}

// issue 10, row 15
#[tokio::test]
async fn a_refusal_with_403_that_is_about_no_right_and_no_key_says_its_cause() {
    for (code, remedy) in [
        ("QuotaExceeded", "raise the quota"),
        ("RequestTimeTooSkewed", "time synchronisation"),
        ("UserSuspended", "disabled"),
        ("NotEntitled", "subscription"),
    ] {
        for text in ["", "in other words"] {
            let gate = answering(None, &[], in_turn(vec![Reply::error(403, code, text)]));
            let bucket = Bench::new().bucket(&Access::at(&gate.url()));
            let put = bucket
                .put("key", Vec::new(), &ObjectEncryption::Default)
                .await
                .unwrap_err();
            for error in [put, bucket.head().await.unwrap_err()] {
                assert!(!error.is_denied() && !error.is_undecided(), "{error:?}");
                assert_eq!(error.storage_error().class, ErrorClass::ActionRequired);
                assert!(error.code == code && error.message.contains(remedy), "{error}");
                assert!(error.message.contains(text), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn where_the_location_tells_no_more_the_status_of_head_stays() {
    let location = "<LocationConstraint>eu-west-1</LocationConstraint>";
    for (status, code) in [(403, "Forbidden"), (400, "BadRequest")] {
        for answer in [Reply::new(200, location), Reply::error(501, "NotImplemented", "what?")] {
            let (_, answer) = head(vec![Reply::new(status, ""), answer]).await;
            let error = answer.unwrap_err();
            let told = error.code == "NotImplemented" || error.code == code;
            assert!(told && error.cause == Cause::Answer(status), "{error:?}");
        }
        let (_, answer) = head(vec![Reply::new(status, ""), Reply::error(503, "SlowDown", "later")]).await;
        assert_eq!(answer.unwrap_err().code, code);
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_costs_one_request() {
    let (gate, answer) = head(vec![Reply::new(404, "")]).await;
    let error = answer.unwrap_err();
    assert_eq!(error.code, "NotFound");
    assert!(error.is_missing() && !error.is_undecided());
    assert_eq!(gate.asked().len(), 1);
}

/// What the four settings say to an answer: `Ok(true)` for "there is none".
async fn settings(bucket: &Bucket) -> Vec<Result<bool, CallError>> {
    vec![
        bucket.tags().await.map(|tags| tags.is_empty()),
        bucket.lifecycle().await.map(|rules| rules.is_empty()),
        bucket.encryption().await.map(|rule| rule.is_none()),
        bucket.is_private().await.map(|private| !private),
    ]
}

// storage-decisions T11
#[tokio::test]
async fn only_the_settings_own_codes_mean_that_there_is_none() {
    let codes = [
        "NoSuchTagSet",
        "NoSuchLifecycleConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration",
    ];
    for (place, code) in codes.into_iter().enumerate() {
        let gate = answering(None, &[], in_turn(vec![Reply::error(404, code, "none")]));
        for (other, answer) in settings(&Bench::new().bucket(&Access::at(&gate.url())))
            .await
            .iter()
            .enumerate()
        {
            assert_eq!(
                answer.as_ref().ok(),
                (other == place).then_some(&true),
                "{code} of {other}"
            );
        }
        let gate = answering(None, &[], in_turn(vec![Reply::error(403, code, "none")]));
        let answers = settings(&Bench::new().bucket(&Access::at(&gate.url()))).await;
        assert!(answers.iter().all(Result::is_err), "{code} that is no 404");
    }
    for (status, code) in [
        (404, "NoSuchBucket"),
        (403, "AccessDenied"),
        (501, "NotImplemented"),
        (503, "SlowDown"),
    ] {
        let gate = answering(None, &[], in_turn(vec![Reply::error(status, code, "no")]));
        for answer in settings(&Bench::new().bucket(&Access::at(&gate.url()))).await {
            assert_eq!(answer.unwrap_err().code, code);
        }
    }
}

fn entry(key: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        version: Some("v1".to_owned()),
        latest: true,
        marker: false,
    }
}

// storage-s3 50
#[tokio::test]
async fn keys_that_were_not_deleted_come_back_though_the_answer_is_200() {
    let body = "<DeleteResult><Error><Key>b</Key><VersionId>v1</VersionId><Code>AccessDenied</Code>\
                <Message>locked by a-key-that-nobody-must-see</Message></Error></DeleteResult>";
    let gate = answering(None, &[], in_turn(vec![Reply::new(200, body)]));
    let bucket = Bench::new().bucket(&Access::at(&gate.url()));
    let refused = bucket.delete(&[entry("a"), entry("b")]).await.unwrap();
    let expected = KeyError {
        key: "b".to_owned(),
        version: Some("v1".to_owned()),
        code: "AccessDenied".to_owned(),
        message: "locked by <redacted>".to_owned(),
    };
    assert_eq!(refused.refused, [expected]);
    let text = gate.asked()[0].text();
    assert!(
        text.contains("<Quiet>false</Quiet>") && text.contains("<VersionId>v1</VersionId>"),
        "{text}"
    );
}

// A URL resolves `..`: the request would reach an object of another bucket.
#[tokio::test]
async fn a_key_with_a_relative_path_is_never_deleted_by_its_url() {
    let gate = answering(None, &[], in_turn(vec![Reply::new(204, "")]));
    let bucket = Bench::new().bucket(&Access::at(&gate.url()));
    for key in ["\u{1}/../../other/image", "\u{1}/./image", ".."] {
        let key = format!("{key}/\u{1}");
        let deletion = bucket.delete(&[entry(&key)]).await.unwrap();
        let codes: Vec<&str> = deletion.refused.iter().map(|refused| refused.code.as_str()).collect();
        assert_eq!((deletion.deleted, codes), (0, vec!["RelativeKey"]), "{key:?}");
    }
    assert_eq!(gate.asked().len(), 0);
    assert_eq!(bucket.delete(&[entry("\u{1}/a..b")]).await.unwrap().deleted, 1);
}

#[tokio::test]
async fn an_error_in_the_body_of_a_200_is_an_error() {
    let late = Reply::error(200, "InternalError", "late");
    let gate = answering(None, &[], in_turn(vec![late]));
    let bench = Bench::new();
    let error = bench
        .bucket(&Access::at(&gate.url()))
        .delete(&[entry("a")])
        .await
        .unwrap_err();
    assert_eq!(error.code, "InternalError");
    assert!(error.is_undecided());
    assert_eq!(gate.asked().len(), 4);
}

fn within(waits: &[Duration], least: &[u64]) {
    assert_eq!(waits.len(), least.len(), "{waits:?}");
    for (wait, least) in waits.iter().zip(least) {
        let least = Duration::from_millis(*least);
        assert!((least..=2 * least).contains(wait), "{waits:?}");
    }
}

#[tokio::test]
async fn a_store_that_throttles_or_fails_is_asked_three_times_more_and_ever_later() {
    for (fault, least) in [
        (Fault::slow_down(), [500, 1000, 2000]),
        (Fault::error(400, "Throttling"), [500, 1000, 2000]),
        (Fault::error(500, "InternalError"), [30, 60, 120]),
        (Fault::error(400, "RequestTimeout"), [30, 60, 120]),
        (Fault::Reset, [30, 60, 120]),
    ] {
        let gate = answering(None, &[], |_| Reply::new(200, EMPTY));
        gate.plan(When::any().times(3), fault.clone());
        let bench = Bench::new();
        let bucket = bench.bucket(&Access::at(&gate.url()));
        bucket.objects("", 1).await.unwrap();
        within(&bench.waited(), &least);

        gate.forget();
        gate.pass();
        gate.plan(When::any(), fault);
        let error = bucket.objects("", 1).await.unwrap_err();
        assert!(error.is_undecided() && !error.is_denied(), "{error:?}");
        assert_eq!(error.storage_error().class, ErrorClass::Transient);
        assert_eq!((gate.asked().len(), bench.waited().len()), (4, 3));
    }
}

#[tokio::test]
async fn a_refusal_is_taken_for_what_it_is() {
    for (status, code) in [
        (403, "AccessDenied"),
        (409, "BucketNotEmpty"),
        (501, "NotImplemented"),
        (405, "MethodNotAllowed"),
    ] {
        let gate = answering(None, &[], in_turn(vec![Reply::error(status, code, "no")]));
        let bench = Bench::new();
        let error = bench
            .bucket(&Access::at(&gate.url()))
            .delete_bucket()
            .await
            .unwrap_err();
        assert_eq!((gate.asked().len(), error.code.as_str()), (1, code));
        let class = if status == 403 {
            ErrorClass::NoAccess
        } else {
            ErrorClass::ActionRequired
        };
        assert_eq!(error.storage_error().class, class);
        assert_eq!(error.to_string(), format!("s3:DeleteBucket on images: {code}: no"));
    }
}

#[tokio::test]
async fn an_answer_that_is_none_of_s3_is_no_verdict() {
    for (answer, code) in [
        (Reply::new(200, "<html>Please log in</html>"), "InvalidResponse"),
        (Reply::new(502, "<html>Bad gateway</html>"), "BadGateway"),
        (Reply::new(418, ""), "I'mateapot"),
    ] {
        let gate = answering(None, &[], in_turn(vec![answer]));
        let error = Bench::new()
            .bucket(&Access::at(&gate.url()))
            .objects("", 1)
            .await
            .unwrap_err();
        assert_eq!(error.code, code);
        assert_eq!(error.is_undecided(), code != "I'mateapot");
    }
}

#[tokio::test]
async fn a_store_that_knows_only_the_first_listing_is_listed_with_it() {
    let gate = answering(None, &[], |asked| match asked.parameter("list-type") {
        Some(_) => Reply::error(501, "NotImplemented", "no V2"),
        None => Reply::new(
            200,
            "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        ),
    });
    let found = Bench::new()
        .bucket(&Access::at(&gate.url()))
        .objects("", 5)
        .await
        .unwrap();
    assert_eq!(found.entries[0].key, "a");
}

#[tokio::test]
async fn a_process_that_does_not_lead_reads_but_changes_nothing() {
    let gate = answering(None, &[], |_| ok());
    let bench = Bench::new();
    let bucket = bench.bucket(&Access::at(&gate.url()));
    bench.leads.store(false, Ordering::Relaxed);
    bucket.head().await.unwrap();
    for error in [
        bucket.create().await.unwrap_err(),
        bucket
            .put("key", Vec::new(), &ObjectEncryption::Default)
            .await
            .unwrap_err(),
        bucket.delete(&[entry("a")]).await.unwrap_err(),
        bucket.delete_bucket().await.unwrap_err(),
    ] {
        assert_eq!(error.cause, Cause::NotLeading);
        assert!(error.is_undecided());
    }
    assert_eq!(gate.operations(), ["HeadBucket"]);
}

#[tokio::test]
async fn leadership_is_asked_for_before_each_attempt() {
    let bench = Bench::new();
    let leads = bench.leads.clone();
    let gate = answering(None, &[], move |_| {
        leads.store(false, Ordering::Relaxed);
        Reply::error(503, "SlowDown", "later")
    });
    let error = bench
        .bucket(&Access::at(&gate.url()))
        .delete_bucket()
        .await
        .unwrap_err();
    assert_eq!((error.cause, gate.asked().len()), (Cause::NotLeading, 1));
}

// storage-decisions T8: a token service may take long, and another process may lead meanwhile
#[tokio::test]
async fn leadership_that_ends_while_the_sdk_gets_credentials_stops_the_request() {
    let bench = Bench::new();
    let (leads, expiry) = (bench.leads.clone(), bench.expiry(60));
    let gate = answering(None, &[], move |asked| match asked.operation().as_str() {
        "AssumeRoleWithWebIdentity" => {
            leads.store(false, Ordering::Relaxed);
            crate::identity::session("ASIA1", &expiry)
        }
        _ => ok(),
    });
    let mut access = crate::identity::role(Access::at(&gate.url()));
    access.effective.sts_endpoint = Some(gate.url());
    let error = bench.bucket(&access).delete_bucket().await.unwrap_err();
    assert_eq!(error.cause, Cause::NotLeading, "{error}");
    assert_eq!(gate.operations(), ["AssumeRoleWithWebIdentity"]);
}

// storage-core 48
#[tokio::test]
async fn a_secret_that_an_answer_repeats_is_not_in_the_error() {
    let told = "the key a-key-that-nobody-must-see through hunter2 does not fit";
    let proxies = Proxies {
        https: Some(Sensitive::new("http://user:hunter2@127.0.0.1:9")),
        ..Proxies::default()
    };
    let gate = answering(
        None,
        &[],
        in_turn(vec![Reply::error(403, "SignatureDoesNotMatch", told)]),
    );
    let mut access = Access::at(&gate.url());
    access.egress = Egress::Fixed(proxies);
    let error = Bench::new().bucket(&access).put_tags(&[]).await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", error.storage_error());
    assert!(
        !shown.contains("nobody-must-see") && !shown.contains("hunter2"),
        "{shown}"
    );
    assert!(
        error.message.contains("the key <redacted> through <redacted>"),
        "{error}"
    );
}

// issue 10, row 15
#[tokio::test]
async fn a_token_service_that_refuses_for_another_cause_than_the_credentials_says_it() {
    for (code, denied, cause) in [
        ("RequestTimeTooSkewed", false, "time synchronisation"),
        ("RequestExpired", false, "time synchronisation"),
        ("UserSuspended", false, "disabled"),
        ("AccessDenied", true, "because"),
        ("InvalidClientTokenId", true, "because"),
        ("SignatureDoesNotMatch", true, "because"),
    ] {
        let gate = answering(None, &[], move |asked| match asked.operation().as_str() {
            "AssumeRole" => Reply::query_error(403, code, "because"),
            _ => ok(),
        });
        let by = Profile::Static {
            id: "AKIASOURCE".to_owned(),
            secret: Sensitive::new("key-of-the-source-profile"),
            session: None,
        };
        let profile = Profile::AssumeRole {
            role: "arn:aws:iam::123456789012:role/x".to_owned(),
            by: Box::new(by),
            external_id: None,
            seconds: None,
            session_name: None,
        };
        let mut access = Access::at(&gate.url()).with_profile(profile, Token::File("".into()));
        access.effective.sts_endpoint = Some(gate.url());
        let error = Bench::new().bucket(&access).head().await.unwrap_err();
        assert_eq!((error.cause, error.is_denied()), (Cause::Identity, denied), "{error:?}");
        assert!(error.code == code && error.message.contains(cause), "{error}");
        assert!(!error.is_undecided());
    }
}

/// Answers to STS and S3 that repeat the secret after so many characters, for the operation that is to fail.
fn repeating(fails: &'static str, secret: &str, before: usize, expiry: String) -> Gate {
    let text = format!("{} {secret} and so on {}", "x".repeat(before), "y ".repeat(300));
    answering(None, &[], move |asked| match asked.operation().as_str() {
        operation if operation == fails && operation.starts_with("AssumeRole") => {
            Reply::query_error(403, "AccessDenied", &text)
        }
        operation if operation == fails => Reply::error(403, "SignatureDoesNotMatch", &text),
        "AssumeRoleWithWebIdentity" => crate::identity::session("ASIA1", &expiry),
        _ => ok(),
    })
}

// storage-core 48
#[tokio::test]
async fn no_part_of_any_secret_that_an_answer_repeats_is_in_the_error() {
    use crate::identity::{TOKEN, TOKEN_FILE, web_identity};

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(TOKEN_FILE.trim_start_matches('/'));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, TOKEN).unwrap();
    let session = "session-token-of-a-static-key";
    let temporary = Keys {
        session: Some(session.to_owned()),
        ..Keys::new("ASIATEST", "a-key-that-nobody-must-see")
    };
    let by_key = Profile::Static {
        id: "AKIASOURCE".to_owned(),
        secret: Sensitive::new("key-of-the-source-profile"),
        session: Some(Sensitive::new("token-of-the-source-profile")),
    };
    let assumed = |by: Profile| Profile::AssumeRole {
        role: "arn:aws:iam::123456789012:role/x".to_owned(),
        by: Box::new(by),
        external_id: None,
        seconds: None,
        session_name: None,
    };
    let given = || Token::Given(Sensitive::new(TOKEN));
    let in_file = || Token::File(TOKEN_FILE.into());
    let none = || Token::File("".into());
    let (put, web, role) = ("PutBucketTagging", "AssumeRoleWithWebIdentity", "AssumeRole");
    for (fails, secret, change) in [
        (
            put,
            "a-key-that-nobody-must-see",
            &(|access: Access| access) as &dyn Fn(Access) -> Access,
        ),
        (put, session, &|access| access.with_keys(&temporary)),
        (put, "secret-of-ASIA1", &|access| {
            access.with_profile(web_identity(), given())
        }),
        (put, "session-of-ASIA1", &|access| {
            access.with_profile(web_identity(), in_file())
        }),
        (web, TOKEN, &|access| access.with_profile(web_identity(), given())),
        (web, TOKEN, &|access| access.with_profile(web_identity(), in_file())),
        (web, TOKEN, &|access| {
            access.with_profile(assumed(web_identity()), in_file())
        }),
        (role, "key-of-the-source-profile", &|access| {
            access.with_profile(assumed(by_key.clone()), none())
        }),
        (role, "token-of-the-source-profile", &|access| {
            access.with_profile(assumed(by_key.clone()), none())
        }),
        (role, "secret-of-ASIA1", &|access| {
            access.with_profile(assumed(web_identity()), in_file())
        }),
        (role, "session-of-ASIA1", &|access| {
            access.with_profile(assumed(web_identity()), given())
        }),
        (put, "hunter2@proxy", &|access| access),
        (put, "hunter2%40proxy", &|access| access),
        (put, "dXNlcjpodW50ZXIyQHByb3h5", &|access| access),
        (web, "hunter2@proxy", &|access| {
            access.with_profile(web_identity(), given())
        }),
        (web, "dXNlcjpodW50ZXIyQHByb3h5", &|access| {
            access.with_profile(web_identity(), in_file())
        }),
    ] {
        for before in [0, 380, 385, 390] {
            let bench = Bench::with_root(directory.path().to_owned());
            let gate = repeating(fails, secret, before, bench.expiry(60));
            let mut access = change(Access::at(&gate.url()));
            access.effective.sts_endpoint = Some(gate.url());
            access.egress = Egress::Fixed(Proxies {
                https: Some(Sensitive::new("http://user:hunter2%40proxy@127.0.0.1:9")),
                ..Proxies::default()
            });
            let error = bench.bucket(&access).put_tags(&[]).await.unwrap_err();
            let shown = format!("{error} {error:?} {:?}", error.storage_error());
            assert!(
                !shown.contains(&secret[..8]),
                "{fails} {secret} after {before}: {shown}"
            );
            assert!(before > 0 || shown.contains("<redacted>"), "{fails} {secret}: {shown}");
        }
    }
}

#[tokio::test]
async fn somebody_elses_text_stays_on_one_line_and_ends() {
    let text = format!("first\nsecond\u{9}{}", "x".repeat(1000));
    let gate = answering(None, &[], in_turn(vec![Reply::error(400, "MalformedXML", &text)]));
    let error = Bench::new()
        .bucket(&Access::at(&gate.url()))
        .put_tags(&[])
        .await
        .unwrap_err();
    assert!(
        error.message.starts_with("first second xxx") && error.message.len() < 500,
        "{error}"
    );
}

async fn unreachable(access: &Access, bench: &Bench) -> String {
    let error = bench.bucket(access).head().await.unwrap_err();
    assert_eq!((error.cause, error.code.as_str()), (Cause::Unreachable, "RequestError"));
    assert_eq!(bench.waited().len(), 3);
    error.message
}

#[tokio::test]
async fn what_keeps_a_connection_from_standing_is_said_in_words() {
    let authority = Authority::new("theirs").unwrap();
    let gate = answering(Some(&authority), &[], |_| ok());
    let port = gate.target().address.port();
    let bench = Bench::new().knowing(&[("elsewhere.invalid", gate.target().address)]);

    let untrusted = Access::at(&gate.url()).trusting(&Authority::new("ours").unwrap());
    let said = unreachable(&untrusted, &bench).await;
    assert!(
        said.starts_with("TLS: ") && said.contains("not signed by a trusted authority"),
        "{said}"
    );

    let named = Access::at(&format!("https://elsewhere.invalid:{port}")).trusting(&authority);
    let said = unreachable(&named, &bench).await;
    assert!(said.starts_with("TLS: ") && said.contains("another name"), "{said}");

    let said = unreachable(&Access::at("http://no-such-host.invalid"), &bench).await;
    assert!(said.starts_with("DNS: "), "{said}");

    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let said = unreachable(&Access::at(&format!("http://{nobody}")), &bench).await;
    assert!(said.contains("refused"), "{said}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up_after_a_minute() {
    let gate = answering(None, &[], |_| Reply::new(200, EMPTY));
    let bench = Bench::new();
    let bucket = bench.bucket(&Access::at(&gate.url()));
    bucket.objects("", 1).await.unwrap();
    gate.plan(When::any(), Fault::Hang);
    // From here on the clock runs to the next deadline whenever nothing else happens; the connection stands already.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let error = bucket.objects("", 1).await.unwrap_err();
    assert_eq!(error.message, "timeout: no answer in time");
    assert!(error.is_undecided());
    let took = begun.elapsed();
    assert!(
        (Duration::from_mins(4)..Duration::from_mins(5)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_tried_again() {
    let bench = Bench::new();
    let error = bench
        .bucket(&Access::at("http://127.0.0.1:9").named(""))
        .head()
        .await
        .unwrap_err();
    assert_eq!(error.cause, Cause::Unsendable);
    assert_eq!(error.storage_error().class, ErrorClass::ActionRequired);
    assert!(bench.waited().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_put_right_by_the_stores() {
    let ahead = |asked: &devcluster::stores::Asked| {
        let gone = asked.at.elapsed();
        let time = jiff::Timestamp::now() - jiff::SignedDuration::try_from(gone).unwrap()
            + jiff::SignedDuration::from_hours(1);
        time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let gate = answering(None, &[], move |asked| {
        let skewed = Reply::error(403, "RequestTimeTooSkewed", "what time is it?");
        let answer = if asked.number == 1 { skewed } else { ok() };
        answer.header("date", &ahead(asked))
    });
    Bench::new()
        .bucket(&Access::at(&gate.url()))
        .put_tags(&[])
        .await
        .unwrap();
    let dates: Vec<_> = gate
        .asked()
        .iter()
        .map(|asked| asked.header("x-amz-date").unwrap().to_owned())
        .collect();
    let time = |text: &str| {
        let time = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", text).unwrap();
        time.to_datetime()
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .unwrap()
            .timestamp()
    };
    let apart = (time(&dates[1]) - time(&dates[0])).get_seconds();
    assert!((3590..=3610).contains(&apart), "{dates:?}");
}

#[tokio::test]
async fn without_credentials_nothing_but_sts_is_asked_and_that_once() {
    let bench = Bench::new();
    let authority = Authority::new("aws").unwrap();
    let sts = "sts.us-west-2.amazonaws.com";
    let gate = answering(Some(&authority), &[sts], |_| {
        Reply::query_error(403, "AccessDenied", "no")
    });
    let bench = bench.knowing(&[(sts, gate.target().address)]);
    let mut access = crate::identity::role(Access::public("us-west-2").trusting(&authority));
    access.pin_owner = true;
    let error = bench.bucket(&access).delete_bucket().await.unwrap_err();
    assert_eq!((error.cause, gate.asked().len()), (Cause::Identity, 1));
}
#[tokio::test]
async fn a_key_that_xml_cannot_hold_is_deleted_by_itself() {
    let versions = "<ListVersionsResult><Version><Key>a&#x1;b</Key><VersionId>v1</VersionId></Version><Version>\
                    <Key>c&#13;d &amp; e</Key><VersionId>v2</VersionId></Version></ListVersionsResult>";
    let gate = answering(None, &[], move |asked| match asked.operation().as_str() {
        "DeleteObjects" => Reply::new(200, "<DeleteResult/>"),
        "DeleteObject" => Reply::error(403, "AccessDenied", "locked"),
        _ => Reply::new(200, versions),
    });
    let bucket = Bench::new().bucket(&Access::at(&gate.url()));
    let found = bucket.versions(10).await.unwrap().entries;
    let keys: Vec<_> = found.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["a\u{1}b", "c\rd & e"]);
    let refused = bucket.delete(&found).await.unwrap().refused;
    assert_eq!(
        (refused.len(), refused[0].key.as_str(), refused[0].code.as_str()),
        (1, "a\u{1}b", "AccessDenied")
    );
    let asked = gate.asked();
    let together = asked
        .iter()
        .find(|asked| asked.operation() == "DeleteObjects")
        .unwrap()
        .text();
    assert!(
        together.contains("<Key>c&#xD;d &amp; e</Key>") && !together.contains("v1"),
        "{together}"
    );
    let alone = asked.iter().find(|asked| asked.operation() == "DeleteObject").unwrap();
    assert_eq!(
        (alone.resource().1.as_str(), alone.parameter("versionId").as_deref()),
        ("a\u{1}b", Some("v1"))
    );
}
