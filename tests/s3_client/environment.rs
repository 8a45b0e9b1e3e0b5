//! What the environment may say to the client: where the system's roots are, and nothing else. The environment is a
//! process's, so these tests run a second one.

use std::fs;
use std::process::Command;

use devcluster::stores::{Authority, Reply};
use image_registry_operator::runtime::telemetry::{Format, Telemetry};
use image_registry_operator::storage::net::http::Trust;

use crate::bench::{Access, Bench, answering, ok};
use crate::identity::{TOKEN, caller, role, session};

const URL: &str = "S3_CLIENT_TEST_URL";
const BUNDLE: &str = "S3_CLIENT_TEST_BUNDLE";
const POISON: &str = "POISONED";

/// Runs one of the tests below that are ignored, with nothing in its environment but these.
fn run(test: &str, variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    said
}

#[tokio::test]
#[ignore = "run by another test, in an environment of its own"]
async fn calls_in_a_poisoned_environment() {
    let url = std::env::var(URL).unwrap();
    let bench = Bench::new();
    let mut access = Access::at(&url);
    access.effective.sts_endpoint = Some(url);
    bench.bucket(&access).head().await.unwrap();
    bench.bucket(&access).delete_bucket().await.unwrap();
    bench.bucket(&role(access)).head().await.unwrap();
}

// storage-decisions 22
#[tokio::test]
async fn nothing_of_the_environment_of_aws_and_of_the_home_is_used() {
    let poisoned = answering(None, &[], |_| ok());
    let expiry = Bench::new().expiry(60);
    let gate = answering(None, &[], move |asked| match asked.operation().as_str() {
        "AssumeRoleWithWebIdentity" => session("ASIA1", &expiry),
        "GetCallerIdentity" => caller("1"),
        _ => ok(),
    });
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let text = format!("aws_access_key_id = AKIA{POISON}\naws_secret_access_key = {POISON}\nregion = {POISON}\n");
    let credentials = file(".aws/credentials", &format!("[default]\n{text}[other]\n{text}"));
    let config = file(
        ".aws/config",
        &format!("[default]\n{text}endpoint_url = {}\n", poisoned.url()),
    );
    let token = file("token", POISON);
    let there = poisoned.url();
    let id = format!("AKIA{POISON}");
    let url = gate.url();
    let variables = [
        (URL, url.as_str()),
        ("HOME", home.path().to_str().unwrap()),
        ("AWS_ACCESS_KEY_ID", &id),
        ("AWS_SECRET_ACCESS_KEY", POISON),
        ("AWS_SESSION_TOKEN", POISON),
        ("AWS_PROFILE", "other"),
        ("AWS_REGION", POISON),
        ("AWS_DEFAULT_REGION", POISON),
        ("AWS_SHARED_CREDENTIALS_FILE", &credentials),
        ("AWS_CONFIG_FILE", &config),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/POISONED"),
        ("AWS_ROLE_SESSION_NAME", POISON),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
        ("AWS_ENDPOINT_URL", &there),
        ("AWS_ENDPOINT_URL_S3", &there),
        ("AWS_ENDPOINT_URL_STS", &there),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &there),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &there),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_CA_BUNDLE", "/nowhere"),
        ("AWS_EXECUTION_ENV", POISON),
        ("AWS_SDK_UA_APP_ID", POISON),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("HTTP_PROXY", &there),
        ("http_proxy", &there),
        ("HTTPS_PROXY", &there),
        ("ALL_PROXY", &there),
    ];
    run("environment::calls_in_a_poisoned_environment", &variables);
    assert_eq!(poisoned.asked().len(), 0, "{:?}", poisoned.operations());
    assert_eq!(
        gate.operations(),
        ["HeadBucket", "DeleteBucket", "AssumeRoleWithWebIdentity", "HeadBucket"]
    );
    for asked in gate.asked() {
        let shown = format!("{} {:?} {}", asked.url(), asked.headers, asked.text());
        assert!(!shown.contains(POISON), "{shown}");
    }
}

/// Whether a server with a certificate of either authority is spoken with: first, second.
async fn accepted(trust: &Trust) -> (bool, bool) {
    let urls = std::env::var(URL).unwrap();
    let (first, second) = urls.split_once(' ').unwrap();
    let mut answers = Vec::new();
    for url in [first, second] {
        let mut access = Access::at(url);
        access.trust = trust.clone();
        answers.push(Bench::new().bucket(&access).head().await.is_ok());
    }
    (answers[0], answers[1])
}

#[tokio::test]
#[ignore = "run by another test, in an environment of its own"]
async fn the_first_authority_is_the_systems_and_the_second_the_bundles() {
    let bundle = fs::read_to_string(std::env::var(BUNDLE).unwrap()).unwrap();
    let trust = |bundle: &str, system| Trust {
        bundle: bundle.to_owned(),
        system,
        unverified: false,
    };
    assert_eq!(accepted(&trust(&bundle, false)).await, (false, true));
    assert_eq!(accepted(&trust(&bundle, true)).await, (true, true));
    assert_eq!(accepted(&trust("", true)).await, (true, false));
    assert_eq!(accepted(&trust("", false)).await, (false, false));
}

// storage-s3 43, storage-s3 44
#[tokio::test]
async fn the_systems_roots_count_where_they_are_asked_for_and_only_there() {
    let (system, own) = (Authority::new("system").unwrap(), Authority::new("own").unwrap());
    let servers = [&system, &own].map(|authority| answering(Some(authority), &[], |_| Reply::new(200, "")));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (roots, bundle) = (file("roots", system.pem()), file("bundle", own.pem()));
    let urls = format!("{} {}", servers[0].url(), servers[1].url());
    run(
        "environment::the_first_authority_is_the_systems_and_the_second_the_bundles",
        &[(URL, &urls), (BUNDLE, &bundle), ("SSL_CERT_FILE", &roots)],
    );
}

#[tokio::test]
#[ignore = "run by another test, in an environment of its own"]
async fn plain_http_works_without_a_root() {
    let mut access = Access::at(&std::env::var(URL).unwrap());
    access.trust.system = true;
    Bench::new().bucket(&access).head().await.unwrap();
}

#[tokio::test]
async fn a_system_without_roots_keeps_nobody_from_a_store_without_tls() {
    let gate = answering(None, &[], |_| ok());
    let url = gate.url();
    let variables = [
        (URL, url.as_str()),
        ("SSL_CERT_FILE", "/nowhere"),
        ("SSL_CERT_DIR", "/nowhere"),
    ];
    run("environment::plain_http_works_without_a_root", &variables);
    assert_eq!(gate.asked().len(), 1);
}

const SECRET: &str = "a-key-that-nobody-must-see";

#[tokio::test]
#[ignore = "run by another test, in an environment of its own"]
async fn calls_with_every_log_line_there_is() {
    let telemetry = Telemetry::init(Format::Text);
    telemetry.set_level("TraceAll").unwrap();
    let url = std::env::var(URL).unwrap();
    let bench = Bench::new();
    let mut access = Access::at(&url);
    access.effective.sts_endpoint = Some(url);
    let bucket = bench.bucket(&access);
    bucket.head().await.unwrap();
    bucket.put_tags(&[]).await.unwrap();
    bucket.delete_bucket().await.unwrap_err();
    bench.bucket(&role(access)).head().await.unwrap();
}

// storage-core 48
#[tokio::test]
async fn no_level_of_logs_shows_a_secret() {
    let expiry = Bench::new().expiry(60);
    let gate = answering(None, &[], move |asked| match asked.operation().as_str() {
        "AssumeRoleWithWebIdentity" => session("ASIA1", &expiry),
        "DeleteBucket" => Reply::error(403, "SignatureDoesNotMatch", SECRET),
        _ => ok(),
    });
    let url = gate.url();
    let said = run(
        "environment::calls_with_every_log_line_there_is",
        &[(URL, url.as_str())],
    );
    assert!(said.contains("aws_smithy_runtime"), "nothing was logged:\n{said}");
    for secret in [SECRET, TOKEN, "secret-of-ASIA1", "session-of-ASIA1"] {
        assert!(!said.contains(secret), "{secret} in\n{said}");
    }
}
