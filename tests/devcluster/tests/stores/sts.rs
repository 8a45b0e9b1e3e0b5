//! STS.

use super::{Moto, REGION, s3, status};
use anyhow::{Context as _, Result, ensure};
use devcluster::stores::{ACCOUNT, Answer, Authority, Call, Keys, OTHER_ACCOUNT, Sts, StsOptions, Target, TokenIssuer};
use hyper::Method;
use serde_json::json;

const REGISTRY: &str = "system:serviceaccount:openshift-image-registry:registry";

/// Sends an unsigned STS request, such as AssumeRoleWithWebIdentity.
async fn assume(sts: &Target, role: &str, token: &str) -> Result<Answer> {
    let body = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=lab&RoleArn={}&WebIdentityToken={token}",
        encoded(role)
    );
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let call = Call::new(Method::POST, "/").headers(&headers).body(body.as_bytes());
    sts.call(call.host("sts.us-east-2.amazonaws.com")).await
}

fn encoded(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}

fn keys(answer: &Answer) -> Result<Keys> {
    let part = |name: &str| {
        answer
            .element(name)
            .with_context(|| format!("no {name}: {}", answer.text()))
    };
    Ok(Keys {
        session: Some(part("SessionToken")?),
        ..Keys::new(&part("AccessKeyId")?, &part("SecretAccessKey")?)
    })
}

#[tokio::test]
async fn sts_issues_role_credentials_for_tokens_of_trusted_subjects() -> Result<()> {
    let moto = Moto::shared().await?;
    let issuer = TokenIssuer::new()?;
    let options = StsOptions {
        authority: Authority::new("stores")?,
        names: vec!["sts.us-east-2.amazonaws.com".into()],
        key: issuer.key()?,
        address: None,
    };
    let sts = Sts::start(moto, options)?;
    let put = json!([{ "Effect": "Allow", "Action": ["s3:CreateBucket", "s3:PutObject"], "Resource": "*" }]);
    let role = moto.role(OTHER_ACCOUNT, "registry-role", &put).await?;
    sts.trust(&role, REGISTRY);

    let code = async |subject: &str, audience: &str, seconds| -> Result<(u16, Option<String>)> {
        let answer = assume(sts.target(), &role, &issuer.token(subject, audience, seconds)?).await?;
        Ok((answer.status, answer.element("Code")))
    };
    ensure!(code(REGISTRY, "sts.amazonaws.com", 60).await? == (400, Some("InvalidIdentityToken".into())));
    ensure!(code(REGISTRY, "openshift", -60).await? == (400, Some("ExpiredTokenException".into())));
    ensure!(code("system:serviceaccount:x:y", "openshift", 60).await? == (403, Some("AccessDenied".into())));
    let forged = TokenIssuer::new()?.token(REGISTRY, "openshift", 60)?;
    let refused = assume(sts.target(), &role, &forged).await?;
    ensure!(
        refused.element("Code").as_deref() == Some("InvalidIdentityToken"),
        "{refused:?}"
    );

    let given = assume(sts.target(), &role, &issuer.token(REGISTRY, "openshift", 60)?)
        .await?
        .good()?;
    let given = keys(&given)?;
    ensure!(status(moto.target(), &given, Method::PUT, "/of-the-role").await? == 200);
    ensure!(status(moto.target(), &given, Method::PUT, "/of-the-role/key").await? == 200);
    ensure!(
        status(moto.target(), &given, Method::GET, "/of-the-role/key").await? == 403,
        "the role may not read"
    );
    let foreign = s3(moto.target(), moto.admin(), Method::PUT, "/of-the-role", b"").await?;
    ensure!(
        foreign.element("Code").as_deref() == Some("BucketAlreadyExists"),
        "the bucket is the role's account's"
    );

    let who = caller(sts.target(), &given).await?.good()?;
    ensure!(
        who.element("Account").as_deref() == Some(OTHER_ACCOUNT),
        "{}",
        who.text()
    );
    sts.distrust(&role);
    ensure!(code(REGISTRY, "openshift", 60).await?.0 == 403);
    Ok(())
}

async fn caller(sts: &Target, keys: &Keys) -> Result<Answer> {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let call = Call::new(Method::POST, "/")
        .headers(&headers)
        .body(b"Action=GetCallerIdentity&Version=2011-06-15");
    sts.call(call.signed(keys, "sts", REGION)).await
}

#[tokio::test]
async fn sts_lets_signed_callers_assume_a_role() -> Result<()> {
    let moto = Moto::shared().await?;
    let options = StsOptions {
        authority: Authority::new("stores")?,
        names: Vec::new(),
        key: TokenIssuer::new()?.key()?,
        address: None,
    };
    let sts = Sts::start(moto, options)?;
    let role = moto
        .role(
            ACCOUNT,
            "other",
            &json!([{ "Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*" }]),
        )
        .await?;
    let may = json!([{ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role }]);
    let user = moto.user("source", &may).await?;
    sts.require_external_id(&role, "x-1");
    let encoded = encoded(&role);
    let assume = async |keys: Option<&Keys>, rest: &str| {
        let body = format!("Action=AssumeRole&Version=2011-06-15&RoleSessionName=lab&RoleArn={encoded}{rest}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let mut call = Call::new(Method::POST, "/").headers(&headers).body(body.as_bytes());
        if let Some(keys) = keys {
            call = call.signed(keys, "sts", REGION);
        }
        sts.target().call(call).await
    };
    ensure!(assume(None, "&ExternalId=x-1").await?.element("Code").as_deref() == Some("MissingAuthenticationToken"));
    ensure!(assume(Some(&user), "").await?.element("Code").as_deref() == Some("AccessDenied"));
    let forged = assume(Some(&Keys::new(&user.id, "wrong")), "&ExternalId=x-1").await?;
    ensure!(forged.status == 403, "{forged:?}");
    let given = keys(&assume(Some(&user), "&ExternalId=x-1").await?.good()?)?;
    ensure!(status(moto.target(), &given, Method::PUT, "/of-another-role").await? == 200);
    ensure!(status(moto.target(), &user, Method::PUT, "/not-of-the-user").await? == 403);
    let who = caller(sts.target(), &given).await?.good()?.text();
    ensure!(who.contains("assumed-role/other/lab"), "{who}");
    Ok(())
}
