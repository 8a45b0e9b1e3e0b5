use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::*;
use crate::config::snapshot::Objects;

const ROLE: &str = "arn:aws:iam::123456789012:role/blue-registry";
const TOKEN: &str = "/var/run/secrets/openshift/serviceaccount/token";

fn secret(name: &str, data: &[(&str, &str)]) -> Value {
    let data: Map<String, Value> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into()))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"namespace": names::NAMESPACE, "name": name}, "data": data,
    })
}

fn with(secrets: impl IntoIterator<Item = Value>) -> Snapshot {
    Snapshot {
        objects: Objects::from_values(secrets).unwrap(),
        ..Snapshot::empty()
    }
}

fn user(data: &[(&str, &str)]) -> Result<Credentials, StorageError> {
    Credentials::of(&with([secret(names::USER_SECRET, data)]))
}

fn minted(data: &[(&str, &str)]) -> Result<Credentials, StorageError> {
    Credentials::of(&with([secret(names::MINTED_SECRET, data)]))
}

fn read(text: &str) -> Result<Credentials, StorageError> {
    minted(&[("credentials", text)])
}

fn profile(text: &str) -> Profile {
    read(text).unwrap().profile
}

fn refusal(text: &str) -> String {
    let error = read(text).unwrap_err();
    assert!(
        error
            .message
            .contains("Secret openshift-image-registry/installer-cloud-credentials")
    );
    error.message
}

fn key(id: &str, secret: &str) -> Profile {
    Profile::Static {
        id: id.to_owned(),
        secret: Sensitive::new(secret),
        session: None,
    }
}

// storage-s3 12
#[test]
fn a_static_key_is_rendered_byte_for_byte_as_it_always_was() {
    let credentials = user(&[
        ("REGISTRY_STORAGE_S3_ACCESSKEY", "AKIAUSER"),
        ("REGISTRY_STORAGE_S3_SECRETKEY", "s/ecret+="),
    ])
    .unwrap();
    assert_eq!(
        credentials.text.expose(),
        "[default]\naws_access_key_id = AKIAUSER\naws_secret_access_key = s/ecret+=\n"
    );
    assert_eq!(credentials.profile, key("AKIAUSER", "s/ecret+="));
    assert_eq!(
        credentials.source,
        "Secret openshift-image-registry/image-registry-private-configuration-user"
    );
}

// storage-core 28, storage-core 31
// In part: 31 (whose the credentials are).
#[test]
fn the_administrator_s_secret_wins_for_as_long_as_it_exists() {
    let own = secret(
        names::USER_SECRET,
        &[
            ("REGISTRY_STORAGE_S3_ACCESSKEY", "AKIAUSER"),
            ("REGISTRY_STORAGE_S3_SECRETKEY", "u"),
        ],
    );
    let platform = secret(
        names::MINTED_SECRET,
        &[("aws_access_key_id", "AKIAMINTED"), ("aws_secret_access_key", "m")],
    );
    let both = Credentials::of(&with([own, platform.clone()])).unwrap();
    assert_eq!(both.profile, key("AKIAUSER", "u"));
    let later = Credentials::of(&with([platform])).unwrap();
    assert_eq!(later.profile, key("AKIAMINTED", "m"));
    assert_ne!(both.text, later.text);
}

// storage-s3 13, storage-core 29
#[test]
fn half_a_key_in_the_administrator_s_secret_names_the_other_half_and_nothing_else_is_used() {
    let (id, secret_key) = ("REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY");
    let text = (
        "credentials",
        "[default]\naws_access_key_id=a\naws_secret_access_key=b\n",
    );
    for (data, missing) in [
        (vec![(id, "AKIA")], secret_key),
        (vec![(id, "AKIA"), (secret_key, "")], secret_key),
        (vec![(secret_key, "s")], id),
        (vec![(id, "AKIA"), text], secret_key),
        (vec![], secret_key),
        (vec![("unrelated", "x"), (id, "")], id),
    ] {
        let platform = secret(names::MINTED_SECRET, &[text]);
        let snapshot = with([secret(names::USER_SECRET, &data), platform]);
        let message = Credentials::of(&snapshot).unwrap_err().message;
        assert!(message.contains(missing), "{message}");
        assert!(
            message.contains("openshift-image-registry/image-registry-private-configuration-user"),
            "{message}"
        );
    }
}

#[test]
fn the_administrator_s_secret_may_hold_a_text_and_a_key_beside_it_wins() {
    let text = format!("[default]\nrole_arn = {ROLE}\nweb_identity_token_file = {TOKEN}\n");
    let credentials = user(&[("credentials", &text)]).unwrap();
    assert_eq!(credentials.text.expose(), text);
    let credentials = user(&[
        ("credentials", &text),
        ("REGISTRY_STORAGE_S3_ACCESSKEY", "AKIA"),
        ("REGISTRY_STORAGE_S3_SECRETKEY", "s"),
    ])
    .unwrap();
    assert_eq!(credentials.profile, key("AKIA", "s"));
}

// storage-s3 14
#[test]
fn the_platform_s_text_is_used_as_it_is() {
    let text = "# of the platform\n[default]\naws_access_key_id=AKIATEXT\naws_secret_access_key=t";
    let credentials = minted(&[
        ("credentials", text),
        ("aws_access_key_id", "AKIAKEY"),
        ("aws_secret_access_key", "k"),
    ])
    .unwrap();
    assert_eq!(credentials.text.expose(), text);
    assert_eq!(credentials.profile, key("AKIATEXT", "t"));
}

// storage-s3 15
#[test]
fn without_a_text_the_platform_s_key_is_rendered() {
    let keys = [("aws_access_key_id", "AKIAKEY"), ("aws_secret_access_key", "k")];
    let expected = "[default]\naws_access_key_id = AKIAKEY\naws_secret_access_key = k\n";
    assert_eq!(minted(&keys).unwrap().text.expose(), expected);
    let with_empty = [("credentials", ""), keys[0], keys[1]];
    assert_eq!(minted(&with_empty).unwrap().text.expose(), expected);
    for data in [&keys[..1], &keys[1..], &[]] {
        let message = minted(data).unwrap_err().message;
        assert!(message.contains("no usable AWS credentials"), "{message}");
    }
}

// storage-core 30
#[test]
fn without_any_secret_the_platform_s_is_named() {
    let message = Credentials::of(&Snapshot::empty()).unwrap_err().message;
    assert!(
        message.contains("openshift-image-registry/installer-cloud-credentials"),
        "{message}"
    );
}

#[test]
fn what_is_no_text_names_the_key() {
    let mut broken = secret(names::MINTED_SECRET, &[]);
    broken["data"] = json!({"credentials": STANDARD.encode([0xff, 0xfe])});
    let message = Credentials::of(&with([broken])).unwrap_err().message;
    assert!(message.contains("key credentials of Secret"), "{message}");
}

#[test]
fn web_identity_is_read_as_the_platform_writes_it() {
    let text =
        format!("[default]\nsts_regional_endpoints = regional\nrole_arn = {ROLE}\nweb_identity_token_file = {TOKEN}\n");
    let expected = Profile::WebIdentity {
        role: ROLE.to_owned(),
        token_file: TOKEN.to_owned(),
        session_name: None,
    };
    assert_eq!(profile(&text), expected);
    let named = profile(&format!("{text}role_session_name = registry\n"));
    assert!(matches!(named, Profile::WebIdentity { session_name: Some(name), .. } if name == "registry"));
}

#[test]
fn the_text_is_read_with_its_comments_cases_and_blanks() {
    for text in [
        "[default]\naws_access_key_id=AKIA\naws_secret_access_key=s#e;c\n",
        "[default]\r\nAWS_ACCESS_KEY_ID =AKIA\r\nAws_Secret_Access_Key= s#e;c\r\n",
        "\u{feff}; first\n# second\n[ default ]  # mine\n  aws_access_key_id = AKIA ; comment\n\taws_secret_access_key=s#e;c # x",
        "[profile default]\naws_access_key_id = AKIA\naws_secret_access_key = s#e;c",
        "[profile   default]\naws_access_key_id = \"AKIA\"\naws_secret_access_key = 's#e;c'",
        "[other]\naws_access_key_id=no\naws_secret_access_key=no\n[default]\naws_access_key_id=AKIA\naws_secret_access_key=s#e;c",
        "[default]\naws_access_key_id=no\n[default]\naws_access_key_id=AKIA\naws_secret_access_key=s#e;c",
        "[default]\naws_access_key_id=AKIA\naws_secret_access_key=s#e;c\n[profile default]\naws_access_key_id=no\n",
        "[default]\naws_access_key_id=AKIA\naws_secret_access_key=s#e;c\ns3 =\n  aws_access_key_id = nested\n",
        "aws_access_key_id=global\n[default]\naws_access_key_id=AKIA\naws_secret_access_key=s#e;c\nnonsense\n",
    ] {
        assert_eq!(profile(text), key("AKIA", "s#e;c"), "{text}");
    }
    let with_equals = "[default]\naws_access_key_id=AKIA\naws_secret_access_key=a=b==\naws_session_token=t/x==\n";
    let expected = Profile::Static {
        id: "AKIA".to_owned(),
        secret: Sensitive::new("a=b=="),
        session: Some(Sensitive::new("t/x==")),
    };
    assert_eq!(profile(with_equals), expected);
}

#[test]
fn region_and_fips_are_read_from_the_default_profile() {
    let keys = "aws_access_key_id=AKIA\naws_secret_access_key=s\n";
    let settings = |text: &str| {
        let credentials = read(text).unwrap();
        (credentials.region, credentials.fips)
    };
    assert_eq!(settings(&format!("[default]\n{keys}")), (None, false));
    assert_eq!(
        settings(&format!(
            "[default]\n{keys}region = eu-west-3\nuse_fips_endpoint = TRUE\n[other]\nregion = x\n"
        )),
        (Some("eu-west-3".to_owned()), true)
    );
    assert_eq!(
        settings(&format!("[default]\n{keys}region =\nuse_fips_endpoint = false\n")),
        (None, false)
    );
}

#[test]
fn a_role_is_assumed_with_the_source_profile() {
    let text = format!(
        "[default]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = x1\nduration_seconds = 1800\n\
         role_session_name = registry\naws_access_key_id = not\naws_secret_access_key = this\n\
         [base]\naws_access_key_id = AKIABASE\naws_secret_access_key = b\n"
    );
    let expected = Profile::AssumeRole {
        role: ROLE.to_owned(),
        by: Box::new(key("AKIABASE", "b")),
        external_id: Some("x1".to_owned()),
        seconds: Some(1800),
        session_name: Some("registry".to_owned()),
    };
    assert_eq!(profile(&text), expected);
    let by = |text: &str| match profile(text) {
        Profile::AssumeRole { by, .. } => *by,
        other => panic!("{other:?}"),
    };
    let chained = format!(
        "[default]\nrole_arn = {ROLE}\nsource_profile = middle\n[profile middle]\nrole_arn = {ROLE}2\n\
         source_profile = base\n[profile base]\nrole_arn = {ROLE}3\nweb_identity_token_file = {TOKEN}\n"
    );
    assert!(matches!(by(&chained), Profile::AssumeRole { by, .. } if matches!(*by, Profile::WebIdentity { .. })));
    for own in ["", "source_profile = default\n"] {
        let text = format!("[default]\nrole_arn = {ROLE}\n{own}aws_access_key_id = AKIA\naws_secret_access_key = s\n");
        assert_eq!(by(&text), key("AKIA", "s"));
    }
}

// storage-s3 19
#[test]
fn a_token_file_without_a_role_is_refused() {
    let message = refusal(&format!("[default]\nweb_identity_token_file = {TOKEN}\n"));
    assert!(
        message.contains("web_identity_token_file") && message.contains("role_arn"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let keys = "aws_access_key_id=AKIA\naws_secret_access_key=hunter2\n";
    for (text, named) in [
        (
            "[default]\ncredential_process = /bin/x\n".to_owned(),
            "credential_process",
        ),
        (
            format!("[default]\nrole_arn = {ROLE}\ncredential_source = Ec2InstanceMetadata\n"),
            "credential_source",
        ),
        ("[default]\nsso_session = corp\n".to_owned(), "SSO"),
        (
            "[default]\nsso_start_url = https://x\nsso_account_id = 1\n".to_owned(),
            "SSO",
        ),
        (" \n".to_owned(), "no profile [default]"),
        (keys.to_owned(), "no profile [default]"),
        (format!("[other]\n{keys}"), "no profile [default]"),
        ("[default]\n".to_owned(), "no credentials"),
        ("[default]\nregion = eu-west-3\n".to_owned(), "no credentials"),
        (
            "[default]\naws_access_key_id = AKIA\n".to_owned(),
            "no aws_secret_access_key",
        ),
        (
            "[default]\naws_secret_access_key = hunter2\n".to_owned(),
            "no aws_access_key_id",
        ),
        (format!("[default]\nrole_arn = {ROLE}\n"), "web_identity_token_file"),
        (
            format!("[default]\nsource_profile = base\n[base]\n{keys}"),
            "no role_arn",
        ),
        (
            format!("[default]\nrole_arn = {ROLE}\nsource_profile = gone\n{keys}"),
            "no profile [gone]",
        ),
        (
            format!(
                "[default]\nrole_arn = {ROLE}\nsource_profile = a\n[a]\nrole_arn = {ROLE}\nsource_profile = default\n"
            ),
            "circle",
        ),
        (
            format!("[default]\nrole_arn = {ROLE}\nduration_seconds = soon\n{keys}"),
            "duration_seconds",
        ),
    ] {
        let message = refusal(&text);
        assert!(message.contains(named), "{text}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    // What another setting of the profile makes idle is not in the way.
    assert_eq!(
        profile(&format!("[default]\n{keys}credential_process = /bin/x\n")),
        key("AKIA", "hunter2")
    );
}

#[test]
fn secrets_are_not_shown() {
    let credentials =
        read("[default]\naws_access_key_id=AKIA\naws_secret_access_key=hunter2\naws_session_token=hunter3\n");
    let shown = format!("{:?}", credentials.unwrap());
    assert!(!shown.contains("hunter"), "{shown}");
}
