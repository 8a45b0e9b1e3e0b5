//! STS that checks tokens, signatures and rights, and a store that accepts what it issues and nothing else.

use std::path::PathBuf;

use devcluster::stores::{ACCOUNT, Authority, Moto, MotoOptions, Sts, StsOptions, TokenIssuer};
use image_registry_operator::api::Sensitive;
use image_registry_operator::storage::backend::s3::profile::Profile;
use image_registry_operator::storage::backend::s3::session::Token;
use image_registry_operator::storage::model::call::Cause;
use image_registry_operator::storage::s3api::client::ObjectEncryption;
use serde_json::json;

use crate::bench::{Access, Bench};

const HOST: &str = "sts.us-east-2.amazonaws.com";
const REGISTRY: &str = "system:serviceaccount:openshift-image-registry:registry";

struct Cloud {
    moto: Moto,
    sts: Sts,
    issuer: TokenIssuer,
    authority: Authority,
}

impl Cloud {
    async fn start() -> Self {
        let moto = Moto::start(MotoOptions {
            authorisation: true,
            ..MotoOptions::default()
        })
        .await
        .unwrap();
        let (issuer, authority) = (TokenIssuer::new().unwrap(), Authority::new("aws").unwrap());
        let options = StsOptions {
            authority: authority.clone(),
            names: vec![HOST.to_owned()],
            key: issuer.key().unwrap(),
            address: None,
        };
        Self {
            sts: Sts::start(&moto, options).unwrap(),
            moto,
            issuer,
            authority,
        }
    }

    async fn role(&self, name: &str) -> String {
        let statements = json!([{ "Effect": "Allow", "Action": ["s3:CreateBucket", "s3:PutObject"], "Resource": "*" }]);
        self.moto.role(ACCOUNT, name, &statements).await.unwrap()
    }

    fn bench(&self) -> Bench {
        Bench::new().knowing(&[(HOST, self.sts.target().address)])
    }

    fn access(&self, profile: Profile, token: &str) -> Access {
        let mut access = Access::at(&self.moto.url()).with_profile(profile, Token::Given(Sensitive::new(token)));
        "us-east-2".clone_into(&mut access.effective.region);
        self.authority.pem().clone_into(&mut access.sts_trust.bundle);
        access
    }
}

fn web_identity(role: &str) -> Profile {
    Profile::WebIdentity {
        role: role.to_owned(),
        token_file: String::new(),
        session_name: None,
    }
}

#[tokio::test]
async fn a_service_account_that_the_role_trusts_gets_what_the_role_may() {
    let cloud = Cloud::start().await;
    let role = cloud.role("registry").await;
    cloud.sts.trust(&role, REGISTRY);
    let bench = cloud.bench();
    let token = cloud.issuer.token(REGISTRY, "openshift", 600).unwrap();
    let bucket = bench.bucket(&cloud.access(web_identity(&role), &token));
    bucket.create().await.unwrap();
    bucket
        .put("key", b"body".to_vec(), &ObjectEncryption::Default)
        .await
        .unwrap();
    let refused = bucket.get("key").await.unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.action),
        ("AccessDenied", "s3:GetObject")
    );

    for (subject, audience, code) in [
        (
            "system:serviceaccount:openshift-image-registry:other",
            "openshift",
            "AccessDenied",
        ),
        (REGISTRY, "sts.amazonaws.com", "InvalidIdentityToken"),
    ] {
        let token = cloud.issuer.token(subject, audience, 600).unwrap();
        let bucket = bench.bucket(&cloud.access(web_identity(&role), &token));
        let error = bucket.head().await.unwrap_err();
        assert_eq!((error.cause, error.code.as_str()), (Cause::Identity, code));
        assert!(!error.to_string().contains(&token), "{error}");
    }
}

#[tokio::test]
async fn a_role_that_another_profile_assumes_is_signed_for() {
    let cloud = Cloud::start().await;
    let role = cloud.role("assumed").await;
    cloud.sts.require_external_id(&role, "outside");
    let may = json!([{ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role }]);
    let user = cloud.moto.user("source", &may).await.unwrap();
    let profile = |secret: &str, external_id: Option<&str>| Profile::AssumeRole {
        role: role.clone(),
        by: Box::new(Profile::Static {
            id: user.id.clone(),
            secret: Sensitive::new(secret),
            session: None,
        }),
        external_id: external_id.map(str::to_owned),
        seconds: Some(900),
        session_name: None,
    };
    let bench = cloud.bench();
    let access = |secret: &str, id| {
        let mut access = cloud.access(profile(secret, id), "");
        access.token = Token::File(PathBuf::new());
        access
    };
    bench
        .bucket(&access(&user.secret, Some("outside")))
        .create()
        .await
        .unwrap();
    for refused in [access(&user.secret, None), access("another-secret", Some("outside"))] {
        let error = bench.bucket(&refused).put_tags(&[]).await.unwrap_err();
        assert_eq!(
            (error.cause, error.action, &error.resource),
            (Cause::Identity, "sts:AssumeRole", &role)
        );
    }
}
