//! Who asks: credentials from STS, kept as long as they are good.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use devcluster::stores::{Asked, Authority, Fault, Gate, Reply, When};
use image_registry_operator::api::Sensitive;
use image_registry_operator::storage::backend::s3::profile::Profile;
use image_registry_operator::storage::backend::s3::session::Token;
use image_registry_operator::storage::model::call::Cause;

use crate::bench::{Access, Bench, answering, ok};

const ROLE: &str = "arn:aws:iam::123456789012:role/tinfra-registry";
pub const TOKEN: &str = "header.payload.signature-of-a-token";
pub const TOKEN_FILE: &str = "/var/run/secrets/openshift/serviceaccount/token";

impl Bench {
    /// A time in so many minutes, as STS writes it.
    pub fn expiry(&self, minutes: u64) -> String {
        at(*self.now.lock().unwrap() + Duration::from_mins(minutes))
    }
}

fn at(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn issued(action: &str, id: &str, expiry: &str) -> Reply {
    Reply::new(
        200,
        &format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
             <Arn>arn:aws:sts::123456789012:assumed-role/tinfra-registry/x</Arn><AssumedRoleId>AROA:x</AssumedRoleId>\
             </AssumedRoleUser><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret-of-{id}\
             </SecretAccessKey><SessionToken>session-of-{id}</SessionToken><Expiration>{expiry}</Expiration></Credentials>\
             </{action}Result><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></{action}Response>"
        ),
    )
}

/// Credentials for a web identity.
pub fn session(id: &str, expiry: &str) -> Reply {
    issued("AssumeRoleWithWebIdentity", id, expiry)
}

/// Who has signed.
pub fn caller(account: &str) -> Reply {
    Reply::new(
        200,
        &format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{account}:user/x</Arn><UserId>AIDA</UserId><Account>{account}</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
        ),
    )
}

pub fn web_identity() -> Profile {
    Profile::WebIdentity {
        role: ROLE.to_owned(),
        token_file: TOKEN_FILE.to_owned(),
        session_name: None,
    }
}

/// As the registry's role, with a given token.
pub fn role(access: Access) -> Access {
    access.with_profile(web_identity(), Token::Given(Sensitive::new(TOKEN)))
}

/// S3 and STS at one gate, whose STS issues a new key each time: ASIA1, ASIA2...
fn issuing(bench: &Bench, minutes: u64) -> (Gate, Access) {
    let now = bench.now.clone();
    let mut number = 0;
    let gate = answering(None, &[], move |asked| {
        let action = asked.operation();
        if !action.starts_with("AssumeRole") {
            return ok();
        }
        number += 1;
        let expiry = at(*now.lock().unwrap() + Duration::from_mins(minutes));
        issued(&action, &format!("ASIA{number}"), &expiry)
    });
    let mut access = Access::at(&gate.url());
    access.effective.sts_endpoint = Some(gate.url());
    (gate, access)
}

fn keys(gate: &Gate) -> Vec<String> {
    let all = gate.asked();
    let s3 = all.iter().filter(|asked| asked.method != hyper::Method::POST);
    s3.filter_map(Asked::key_id).collect()
}

fn sts_calls(gate: &Gate) -> usize {
    gate.operations()
        .iter()
        .filter(|name| name.starts_with("AssumeRole"))
        .count()
}

fn form(asked: &Asked, name: &str) -> Option<String> {
    let text = asked.text();
    let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| *key == name)?.1;
    Some(value.replace("%3A", ":").replace("%2F", "/"))
}

// storage-s3 16
#[tokio::test]
async fn a_web_identity_is_asked_for_unsigned_at_the_region_and_not_again_while_it_lasts() {
    let authority = Authority::new("aws").unwrap();
    let (s3_host, sts_host) = ("s3.dualstack.us-east-2.amazonaws.com", "sts.us-east-2.amazonaws.com");
    let names = [s3_host, "*.s3.dualstack.us-east-2.amazonaws.com", sts_host];
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::with_root(directory.path().to_owned());
    let expiry = bench.expiry(60);
    let gate = answering(Some(&authority), &names, move |asked| {
        match asked.operation().as_str() {
            "AssumeRoleWithWebIdentity" => session("ASIA1", &expiry),
            _ => ok(),
        }
    });
    let bench = bench.knowing(&[(s3_host, gate.target().address), (sts_host, gate.target().address)]);
    let file = directory.path().join(TOKEN_FILE.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let access = Access::public("us-east-2").trusting(&authority);
    let access = access.with_profile(web_identity(), Token::File(PathBuf::from(TOKEN_FILE)));
    for _ in 0..3 {
        // A new connection each time, as each pass makes one.
        bench.bucket(&access).head().await.unwrap();
    }
    let all = gate.asked();
    assert_eq!(sts_calls(&gate), 1);
    let sts = &all[0];
    assert_eq!(sts.url(), format!("https://{sts_host}/"));
    assert!(!sts.is_signed());
    for (name, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("WebIdentityToken", TOKEN),
    ] {
        assert_eq!(form(sts, name).as_deref(), Some(value));
    }
    assert!(form(sts, "RoleSessionName").unwrap().parse::<u128>().unwrap() > 1_000_000_000_000_000_000);
    assert_eq!(form(sts, "DurationSeconds"), None);
    assert_eq!(keys(&gate), ["ASIA1"; 3]);
    assert_eq!(all[1].header("x-amz-security-token"), Some("session-of-ASIA1"));
}

#[tokio::test]
async fn a_token_is_read_anew_for_each_call_of_sts_and_credentials_come_five_minutes_early() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    let (gate, access) = issuing(&bench, 60);
    let file = directory.path().join("token");
    let access = access.with_profile(web_identity(), Token::File(file.clone()));
    fs::write(&file, "first").unwrap();
    bench.bucket(&access).head().await.unwrap();
    fs::write(&file, "second").unwrap();
    bench.pass(Duration::from_mins(54));
    bench.bucket(&access).head().await.unwrap();
    assert_eq!(keys(&gate), ["ASIA1"; 2]);
    bench.pass(Duration::from_secs(61));
    bench.bucket(&access).head().await.unwrap();
    assert_eq!(keys(&gate), ["ASIA1", "ASIA1", "ASIA2"]);
    let tokens: Vec<_> = gate
        .asked()
        .iter()
        .filter_map(|a| form(a, "WebIdentityToken"))
        .collect();
    assert_eq!(tokens, ["first", "second"]);
}

// storage-s3 17
#[tokio::test]
async fn the_clusters_own_sts_is_asked_where_there_is_one() {
    let authority = Authority::new("aws").unwrap();
    let host = "s3.dualstack.us-east-2.amazonaws.com";
    let s3 = answering(Some(&authority), &["*.s3.dualstack.us-east-2.amazonaws.com"], |_| ok());
    let bench = Bench::new().knowing(&[(host, s3.target().address)]);
    let expiry = bench.expiry(60);
    let sts = answering(None, &[], move |_| session("ASIA1", &expiry));
    let mut access = role(Access::public("us-east-2").trusting(&authority));
    access.effective.sts_endpoint = Some(sts.url());
    bench.bucket(&access).head().await.unwrap();
    assert_eq!(
        (sts.operations(), s3.operations()),
        (vec!["AssumeRoleWithWebIdentity".into()], vec!["HeadBucket".into()])
    );
}

// storage-s3 18
#[tokio::test]
async fn an_identity_provider_that_lags_behind_gets_another_chance() {
    for code in ["InvalidIdentityToken", "IDPCommunicationError"] {
        let bench = Bench::new();
        let (gate, access) = issuing(&bench, 60);
        let refused = Reply::query_error(400, code, "no such provider yet");
        gate.plan(
            When::operation("AssumeRoleWithWebIdentity").times(2),
            Fault::Answer(refused),
        );
        bench.bucket(&role(access)).head().await.unwrap();
        assert_eq!(sts_calls(&gate), 3);
        assert_eq!(bench.waited().len(), 2);
    }
}

#[tokio::test]
async fn what_sts_refuses_names_the_role_and_the_action_and_not_the_token() {
    let bench = Bench::new();
    let gate = answering(None, &[], |_| {
        Reply::query_error(403, "AccessDenied", &format!("Not authorized with {TOKEN}"))
    });
    let mut access = Access::at(&gate.url());
    access.effective.sts_endpoint = Some(gate.url());
    let error = bench.bucket(&role(access)).head().await.unwrap_err();
    assert_eq!(
        (error.action, error.resource.as_str()),
        ("sts:AssumeRoleWithWebIdentity", ROLE)
    );
    assert_eq!((error.cause, error.code.as_str()), (Cause::Identity, "AccessDenied"));
    assert!(error.is_denied() && !error.is_undecided());
    assert!(
        error.message.contains("Not authorized") && !error.message.contains(TOKEN),
        "{error}"
    );
    assert_eq!(gate.asked().len(), 1, "nothing was asked of S3");
}

// storage-decisions T17
#[tokio::test]
async fn an_sts_that_fails_itself_decides_nothing() {
    let bench = Bench::new();
    for (status, code) in [
        (503, "ServiceUnavailable"),
        (400, "IDPCommunicationError"),
        (400, "Throttling"),
        (403, "RequestLimitExceeded"),
    ] {
        let gate = answering(None, &[], move |_| Reply::query_error(status, code, "later"));
        let mut access = Access::at(&gate.url());
        access.effective.sts_endpoint = Some(gate.url());
        let error = bench.bucket(&role(access)).head().await.unwrap_err();
        assert!(error.is_undecided() && !error.is_denied(), "{error:?}");
        assert_eq!(
            gate.asked().len(),
            4,
            "three attempts more, and not again for the call itself"
        );
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_named_by_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    let (gate, access) = issuing(&bench, 60);
    let file = directory.path().join("token");
    let access = access.with_profile(web_identity(), Token::File(file.clone()));
    let error = bench.bucket(&access).head().await.unwrap_err();
    assert_eq!(error.cause, Cause::Identity);
    assert!(error.message.contains(file.to_str().unwrap()), "{error}");
    fs::write(&file, "\n").unwrap();
    let error = bench.bucket(&access).head().await.unwrap_err();
    assert!(error.message.contains("empty"), "{error}");
    assert_eq!(gate.asked().len(), 0);
}

#[tokio::test]
async fn credentials_that_s3_refuses_are_dropped_and_the_call_is_made_once_more() {
    for code in ["ExpiredToken", "InvalidAccessKeyId", "InvalidToken"] {
        let bench = Bench::new();
        let (gate, access) = issuing(&bench, 60);
        let bucket = bench.bucket(&role(access));
        bucket.put_tags(&[]).await.unwrap();
        gate.plan(When::operation("PutBucketTagging").times(1), Fault::error(403, code));
        bucket.put_tags(&[]).await.unwrap();
        assert_eq!(keys(&gate), ["ASIA1", "ASIA1", "ASIA2"], "{code}");

        gate.plan(When::operation("PutBucketTagging"), Fault::error(403, code));
        gate.forget();
        let error = bucket.put_tags(&[]).await.unwrap_err();
        assert_eq!(error.code, code);
        assert_eq!(keys(&gate), ["ASIA2", "ASIA3"], "{code}: once more, not for ever");
        assert!(bench.waited().is_empty());
    }
}

#[tokio::test]
async fn head_finds_out_that_credentials_have_expired_though_it_has_no_code() {
    let bench = Bench::new();
    let (gate, access) = issuing(&bench, 60);
    gate.plan(
        When::operation("HeadBucket").times(1),
        Fault::Answer(Reply::new(400, "")),
    );
    gate.plan(
        When::operation("GetBucketLocation").times(1),
        Fault::error(400, "ExpiredToken"),
    );
    gate.plan(
        When::operation("GetBucketLocation"),
        Fault::Answer(Reply::new(200, "<LocationConstraint>eu-west-1</LocationConstraint>")),
    );
    bench.bucket(&role(access)).head().await.unwrap();
    assert_eq!(keys(&gate), ["ASIA1", "ASIA1", "ASIA2", "ASIA2"]);
}

#[tokio::test]
async fn keys_that_are_written_down_are_not_asked_for_again() {
    let bench = Bench::new();
    let gate = answering(None, &[], |_| Reply::error(403, "InvalidAccessKeyId", "no such key"));
    let error = bench.bucket(&Access::at(&gate.url())).put_tags(&[]).await.unwrap_err();
    assert_eq!(error.code, "InvalidAccessKeyId");
    assert_eq!(gate.asked().len(), 1);
}

#[tokio::test]
async fn credentials_are_used_to_their_end_while_sts_is_down() {
    let bench = Bench::new();
    let (gate, access) = issuing(&bench, 60);
    let bucket = bench.bucket(&role(access));
    bucket.head().await.unwrap();
    let sts = || When::operation("AssumeRoleWithWebIdentity");
    let busy = Fault::Answer(Reply::query_error(400, "Throttling", "later"));
    gate.plan(sts().times(4), busy);
    bench.pass(Duration::from_mins(57));
    bucket.head().await.unwrap();
    assert_eq!(keys(&gate), ["ASIA1"; 2]);
    gate.plan(sts(), Fault::Reset);
    bucket.head().await.unwrap();
    assert_eq!(keys(&gate), ["ASIA1"; 3]);
    bench.pass(Duration::from_mins(3));
    let error = bucket.head().await.unwrap_err();
    assert_eq!(
        (error.cause, error.action),
        (Cause::Unreachable, "sts:AssumeRoleWithWebIdentity")
    );
}

#[tokio::test]
async fn identities_are_kept_apart() {
    let bench = Bench::new();
    let (gate, access) = issuing(&bench, 60);
    let ours = role(access.clone());
    let registry = access
        .clone()
        .with_profile(web_identity(), Token::Given(Sensitive::new("another.token")));
    let other = access.with_profile(
        Profile::WebIdentity {
            role: format!("{ROLE}-other"),
            token_file: TOKEN_FILE.to_owned(),
            session_name: Some("named".to_owned()),
        },
        Token::Given(Sensitive::new(TOKEN)),
    );
    for access in [&ours, &registry, &other, &ours, &registry, &other] {
        bench.bucket(access).head().await.unwrap();
    }
    assert_eq!(keys(&gate), ["ASIA1", "ASIA2", "ASIA3", "ASIA1", "ASIA2", "ASIA3"]);
    let names: Vec<_> = gate.asked().iter().filter_map(|a| form(a, "RoleSessionName")).collect();
    assert_eq!(names[2], "named");
}

#[tokio::test]
async fn a_role_is_assumed_by_another_profile() {
    let bench = Bench::new();
    let (gate, access) = issuing(&bench, 60);
    let by = |by: Profile| Profile::AssumeRole {
        role: ROLE.to_owned(),
        by: Box::new(by),
        external_id: Some("outside".to_owned()),
        seconds: Some(1800),
        session_name: Some("registry".to_owned()),
    };
    let fixed = Profile::Static {
        id: "AKIASOURCE".to_owned(),
        secret: Sensitive::new("secret-of-the-source"),
        session: None,
    };
    let token = Token::Given(Sensitive::new(TOKEN));
    bench
        .bucket(&access.clone().with_profile(by(fixed), token.clone()))
        .head()
        .await
        .unwrap();
    let asked = gate.asked();
    assert_eq!(asked[0].key_id().as_deref(), Some("AKIASOURCE"));
    for (name, value) in [
        ("Action", "AssumeRole"),
        ("RoleArn", ROLE),
        ("ExternalId", "outside"),
        ("DurationSeconds", "1800"),
        ("RoleSessionName", "registry"),
    ] {
        assert_eq!(form(&asked[0], name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(keys(&gate), ["ASIA1"]);

    gate.forget();
    bench
        .bucket(&access.with_profile(by(web_identity()), token))
        .head()
        .await
        .unwrap();
    assert_eq!(
        gate.operations(),
        ["AssumeRoleWithWebIdentity", "AssumeRole", "HeadBucket"]
    );
    assert_eq!(gate.asked()[1].key_id().as_deref(), Some("ASIA2"));
    assert_eq!(keys(&gate), ["ASIA3"]);
}

#[tokio::test]
async fn the_account_of_a_role_needs_no_call_of_its_own() {
    let authority = Authority::new("aws").unwrap();
    let (s3, sts) = ("s3.dualstack.us-west-2.amazonaws.com", "sts.us-west-2.amazonaws.com");
    let bench = Bench::new();
    let expiry = bench.expiry(60);
    let names = ["*.s3.dualstack.us-west-2.amazonaws.com", sts];
    let gate = answering(Some(&authority), &names, move |asked| {
        match asked.operation().as_str() {
            "AssumeRoleWithWebIdentity" => session("ASIA1", &expiry),
            _ => ok(),
        }
    });
    let bench = bench.knowing(&[(s3, gate.target().address), (sts, gate.target().address)]);
    let mut access = role(Access::public("us-west-2").trusting(&authority));
    access.pin_owner = true;
    bench.bucket(&access).delete_bucket().await.unwrap();
    assert_eq!(gate.operations(), ["AssumeRoleWithWebIdentity", "DeleteBucket"]);
    let owner = gate.asked()[1].header("x-amz-expected-bucket-owner").map(str::to_owned);
    assert_eq!(owner.as_deref(), Some("123456789012"));
}

#[tokio::test]
async fn many_who_wait_for_credentials_cost_one_call() {
    let bench = Bench::new();
    let (gate, access) = issuing(&bench, 60);
    let bucket = bench.bucket(&role(access));
    let all = futures::future::join_all((0..8).map(|_| bucket.head())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(sts_calls(&gate), 1);
}
