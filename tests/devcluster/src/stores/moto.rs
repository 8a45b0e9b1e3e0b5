//! moto: S3, STS, IAM and KMS of AWS in one program, with authorisation on or off.
//!
//! Where it differs from AWS: HeadBucket needs the action `s3:HeadBucket`, and the bucket of another account answers it with
//! 200; a fresh bucket has no default encryption; `x-amz-expected-bucket-owner` is ignored; after a page of versions was
//! deleted, the next page begins too late: list from the start. With authorisation on it answers 500 to pre-signed requests,
//! and to calls without a signature.

use super::home::Home;
use super::tls::Authority;
use super::wire::{Answer, Call, Keys, Target};
use crate::programs;
use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::sync::OnceCell;

/// The account of keys that nobody made.
pub const ACCOUNT: &str = "123456789012";
/// A second account.
pub const OTHER_ACCOUNT: &str = "210987654321";

/// Keys for the time before there are any, and for servers without authorisation: 20 characters, or the account is lost.
const ANYBODY: (&str, &str) = ("AKIADEVCLUSTERANYBDY", "any");
/// Calls that set up, which S3 knows by no region.
const REGION: &str = "us-east-1";
const CREATE_KEY: &str = "TrentService.CreateKey";
const PROCESS: &str = "moto";

/// Hosts whose first label is no bucket, beside addresses and `localhost`: on the default port and on moto's own. On
/// another one, such as a gate's, the bucket is looked for in the name.
const PATH_HOSTS: &[&str] = &[
    "s3.localhost",
    "s3.test.example",
    "s3.dualstack.us-east-1.amazonaws.com",
    "s3.dualstack.us-east-2.amazonaws.com",
    "s3.dualstack.us-west-2.amazonaws.com",
    "s3.dualstack.eu-west-1.amazonaws.com",
    "s3.us-east.cloud-object-storage.appdomain.cloud",
];

/// How to start moto.
#[derive(Clone, Debug, Default)]
pub struct MotoOptions {
    /// TLS with a certificate of this authority; plain HTTP without.
    pub authority: Option<Authority>,
    /// Names of the certificate beside [`super::NAMES`].
    pub names: Vec<String>,
    /// Whether signatures and policies count; otherwise everybody may do everything.
    pub authorisation: bool,
}

/// A running moto; dropped, it is gone with all that it holds.
#[derive(Debug)]
pub struct Moto {
    home: Home,
    target: Target,
    authority: Option<Authority>,
    /// Who may do everything, by account.
    admins: [(&'static str, Keys); 2],
}

/// The moto of [`Moto::shared`].
static SHARED: OnceCell<Moto> = OnceCell::const_new();

impl Moto {
    /// The moto that all tests of a program share, with authorisation; the first call starts it.
    pub async fn shared() -> Result<&'static Self> {
        let options = MotoOptions {
            authorisation: true,
            ..MotoOptions::default()
        };
        SHARED.get_or_try_init(|| Self::start(options)).await
    }

    /// Starts it; it answers when this returns.
    pub async fn start(options: MotoOptions) -> Result<Self> {
        let programs = programs::ensure(&["moto_server"]).await?;
        let home = Home::create("moto", 1)?;
        let port = home.ports().first().copied().context("a port")?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let mut command = programs::moto_server(&programs)?;
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        if let Some(authority) = &options.authority {
            let (certificate, key) = authority.issue(&options.names)?.write(home.directory())?;
            command.arg("-c").arg(certificate).arg("-k").arg(key);
        }
        // Where its libraries would look for settings of the machine.
        command.env("HOME", home.directory());
        // Each counts with the port and without it.
        let endpoints: Vec<String> = PATH_HOSTS.iter().map(|host| format!("https://{host}:{port}")).collect();
        command.env("MOTO_S3_CUSTOM_ENDPOINTS", endpoints.join(","));
        home.spawn(PROCESS, command)?;
        let target = Target {
            address,
            tls: options.authority.as_ref().map(Authority::client).transpose()?,
        };
        home.until("moto answers", || async {
            let answer = target.call(Call::new(Method::GET, "/moto-api/")).await;
            answer.ok().filter(|answer| answer.status == 200)
        })
        .await?;
        let anybody = Keys::new(ANYBODY.0, ANYBODY.1);
        let admins = [(ACCOUNT, anybody.clone()), (OTHER_ACCOUNT, anybody)];
        let mut moto = Self {
            home,
            target,
            authority: options.authority,
            admins,
        };
        let everything = json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]);
        for account in [ACCOUNT, OTHER_ACCOUNT] {
            let keys = moto.user_in(account, "devcluster-admin", &everything).await?;
            moto.admins
                .iter_mut()
                .filter(|(of, _)| *of == account)
                .for_each(|(_, admin)| *admin = keys.clone());
        }
        moto.authorise(options.authorisation).await?;
        moto.home.complete = true;
        Ok(moto)
    }

    /// URL under its address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where its log lies, among others.
    pub fn directory(&self) -> &std::path::Path {
        self.home.directory()
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Keys that may do everything in [`ACCOUNT`].
    pub fn admin(&self) -> &Keys {
        self.admin_of(ACCOUNT)
    }

    /// Keys that may do everything in an account.
    pub fn admin_of(&self, account: &str) -> &Keys {
        let [(_, first), (other, second)] = &self.admins;
        if account == *other { second } else { first }
    }

    /// Whether signatures and policies count from now on.
    pub async fn authorise(&self, on: bool) -> Result<()> {
        let count: &[u8] = if on { b"0" } else { b"inf" };
        let headers = [("content-type", "text/plain")];
        let call = Call::new(Method::POST, "/moto-api/reset-auth");
        self.target.call(call.headers(&headers).body(count)).await?.good()?;
        Ok(())
    }

    /// Makes a user of [`ACCOUNT`] with one policy, given by its statements; the user's keys.
    pub async fn user(&self, name: &str, statements: &Value) -> Result<Keys> {
        self.user_in(ACCOUNT, name, statements).await
    }

    /// The same in any account.
    pub async fn user_in(&self, account: &str, name: &str, statements: &Value) -> Result<Keys> {
        self.iam(account, &[("Action", "CreateUser"), ("UserName", name)])
            .await?;
        self.allow_user(account, name, statements).await?;
        let made = self
            .iam(account, &[("Action", "CreateAccessKey"), ("UserName", name)])
            .await?;
        let part = |name: &str| {
            made.element(name)
                .with_context(|| format!("no {name} in {}", made.text()))
        };
        Ok(Keys::new(&part("AccessKeyId")?, &part("SecretAccessKey")?))
    }

    /// Replaces a user's policy.
    pub async fn allow_user(&self, account: &str, name: &str, statements: &Value) -> Result<()> {
        let policy = policy(statements);
        let form = [
            ("Action", "PutUserPolicy"),
            ("UserName", name),
            ("PolicyName", "devcluster"),
            ("PolicyDocument", &policy),
        ];
        self.iam(account, &form).await.map(drop)
    }

    /// Takes a user's key away.
    pub async fn delete_key(&self, account: &str, name: &str, keys: &Keys) -> Result<()> {
        let form = [
            ("Action", "DeleteAccessKey"),
            ("UserName", name),
            ("AccessKeyId", &keys.id),
        ];
        self.iam(account, &form).await.map(drop)
    }

    /// Makes a role of an account with one policy, given by its statements; its ARN. Whoever asks may be it: who may is
    /// [`super::Sts`]'s matter.
    pub async fn role(&self, account: &str, name: &str, statements: &Value) -> Result<String> {
        let anybody = policy(&json!([{ "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole" }]));
        let form = [
            ("Action", "CreateRole"),
            ("RoleName", name),
            ("AssumeRolePolicyDocument", &anybody),
        ];
        let made = self.iam(account, &form).await?;
        let policy = policy(statements);
        let form = [
            ("Action", "PutRolePolicy"),
            ("RoleName", name),
            ("PolicyName", "devcluster"),
            ("PolicyDocument", &policy),
        ];
        self.iam(account, &form).await?;
        made.element("Arn").context("no Arn of a role")
    }

    /// Makes a key of KMS in [`ACCOUNT`] and a region; its ARN.
    pub async fn kms_key(&self, region: &str) -> Result<String> {
        let headers = [
            ("x-amz-target", CREATE_KEY),
            ("content-type", "application/x-amz-json-1.1"),
        ];
        let call = Call::new(Method::POST, "/").headers(&headers).body(b"{}");
        let answer = self
            .target
            .call(call.signed(self.admin(), "kms", region))
            .await?
            .good()?;
        let made: Value = serde_json::from_slice(&answer.body)?;
        let arn = made.pointer("/KeyMetadata/Arn").and_then(Value::as_str);
        Ok(arn.context("no Arn of a key")?.to_owned())
    }

    async fn iam(&self, account: &str, form: &[(&str, &str)]) -> Result<Answer> {
        let mut body = vec![("Version", "2010-05-08")];
        body.extend(form);
        let body = super::form::encode(&body);
        let headers = [
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("x-moto-account-id", account),
        ];
        let call = Call::new(Method::POST, "/").headers(&headers).body(body.as_bytes());
        let call = call.signed(self.admin_of(account), "iam", REGION);
        let answer = self.target.call(call).await?.good();
        answer.with_context(|| {
            form.first()
                .map_or_else(String::new, |(_, action)| (*action).to_owned())
        })
    }
}

fn policy(statements: &Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}
