//! SeaweedFS: a real store that speaks S3, with signatures, and stricter and poorer than AWS.
//!
//! Where it differs from AWS: the public access block is not implemented (501); the location is always empty; a bucket that
//! holds nothing but a delete marker is deleted. Without a key-encryption key it accepts a default encryption, after which
//! every PUT is answered with 500, as is a PUT that asks for `AES256` itself.

use super::home::Home;
use super::tls::Authority;
use super::wire::{Call, Keys, Target};
use crate::{files, process, programs};
use anyhow::{Result, bail};
use hyper::Method;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

/// Who may do what by default: everything.
const ADMIN: (&str, &str) = ("AKIADEVCLUSTERWEEDAD", "devcluster-weed-admin-secret");
const PROCESS: &str = "weed";
/// Domains below which a first label is the bucket.
const DOMAINS: &str = "s3.localhost,s3.test.example,s3.oss-us-east-1-internal.aliyuncs.com";

/// How to start SeaweedFS.
#[derive(Clone, Debug, Default)]
pub struct SeaweedOptions {
    /// TLS with a certificate of this authority; plain HTTP without.
    pub authority: Option<Authority>,
    /// Names of the certificate beside [`super::NAMES`].
    pub names: Vec<String>,
    /// Who is known beside the administrator: keys, and actions such as `Read`, `Write:BUCKET`, `List`, `Tagging`.
    pub identities: Vec<(Keys, Vec<String>)>,
    /// Whether it has a key-encryption key, without which nothing can be stored encrypted.
    pub encryption_key: bool,
}

/// A running SeaweedFS; dropped, it is gone with all that it holds.
#[derive(Debug)]
pub struct Seaweed {
    home: Home,
    target: Target,
    authority: Option<Authority>,
    admin: Keys,
}

impl Seaweed {
    /// Starts it; it answers and stores when this returns.
    pub async fn start(options: SeaweedOptions) -> Result<Self> {
        let programs = programs::ensure(&["weed"]).await?;
        let home = Home::create("weed", 8)?;
        let admin = Keys::new(ADMIN.0, ADMIN.1);
        let mut command = process::command(programs.path("weed")?);
        let address = arguments(&mut command, &home, &options, &admin)?;
        home.spawn(PROCESS, command)?;
        let target = Target {
            address,
            tls: options.authority.as_ref().map(Authority::client).transpose()?,
        };
        let mut seaweed = Self {
            home,
            target,
            authority: options.authority,
            admin,
        };
        seaweed.ready().await?;
        seaweed.home.complete = true;
        Ok(seaweed)
    }

    /// Waits until it stores: some seconds after it answers, because volumes have to be made.
    async fn ready(&self) -> Result<()> {
        let call = |method, path| {
            self.target
                .call(Call::new(method, path).signed(&self.admin, "s3", "us-east-1"))
        };
        let probe = "/devcluster-probe";
        self.home
            .until("SeaweedFS answers", || async {
                call(Method::PUT, probe)
                    .await
                    .ok()
                    .filter(|answer| answer.status == 200)
            })
            .await?;
        self.home
            .until("SeaweedFS stores", || async {
                call(Method::PUT, "/devcluster-probe/probe")
                    .await
                    .ok()
                    .filter(|answer| answer.status == 200)
            })
            .await?;
        call(Method::DELETE, "/devcluster-probe/probe").await?.good()?;
        call(Method::DELETE, probe).await?.good()?;
        Ok(())
    }

    /// URL under its address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Keys that may do everything.
    pub fn admin(&self) -> &Keys {
        &self.admin
    }
}

/// Gives the program what it must know, all of its ports among it; the address of S3.
fn arguments(command: &mut Command, home: &Home, options: &SeaweedOptions, admin: &Keys) -> Result<SocketAddr> {
    let [s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc] = home.ports() else {
        bail!("eight ports");
    };
    let directory = home.directory();
    let data = directory.join("data");
    files::create_dir(&data)?;
    let all = ["Admin", "Read", "Write", "List", "Tagging"]
        .map(str::to_owned)
        .to_vec();
    let known = std::iter::once((admin.clone(), all)).chain(options.identities.iter().cloned());
    let identities: Vec<_> = known
        .map(|(keys, actions)| {
            json!({
                "name": keys.id,
                "credentials": [{ "accessKey": keys.id, "secretKey": keys.secret }],
                "actions": actions,
            })
        })
        .collect();
    let config = directory.join("s3.json");
    files::write(&config, serde_json::to_vec(&json!({ "identities": identities }))?)?;
    command.arg("server").arg(format!("-dir={}", data.display()));
    command.args([
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-volume.max=200",
        "-master.volumeSizeLimitMB=64",
    ]);
    command.arg(format!("-s3.config={}", config.display()));
    // As AWS, and as every store that is to be trusted.
    command.args(["-s3.allowDeleteBucketNotEmpty=false", "-s3.autoCreateBucket=false"]);
    command.arg(format!("-s3.domainName={DOMAINS}"));
    // Nothing for others on ports of their own, and nothing for its makers.
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
    let ports = [
        ("s3.port", s3),
        ("s3.port.grpc", s3_grpc),
        ("master.port", master),
        ("master.port.grpc", master_grpc),
        ("volume.port", volume),
        ("volume.port.grpc", volume_grpc),
        ("filer.port", filer),
        ("filer.port.grpc", filer_grpc),
    ];
    command.args(ports.map(|(name, port)| format!("-{name}={port}")));
    for (flag, socket) in [("s3.localSocket", "s3.sock"), ("filer.localSocket", "filer.sock")] {
        command.arg(format!("-{flag}={}", directory.join(socket).display()));
    }
    if let Some(authority) = &options.authority {
        let (certificate, key) = authority.issue(&options.names)?.write(directory)?;
        command.arg(format!("-s3.cert.file={}", certificate.display()));
        command.arg(format!("-s3.key.file={}", key.display()));
    }
    // Where it would look for settings of the machine.
    command.env("HOME", directory);
    // Volumes are made one at a time: by default seven, for each bucket.
    command.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
    if options.encryption_key {
        command.env("WEED_S3_SSE_KEK", "6b".repeat(32));
    }
    Ok((Ipv4Addr::LOCALHOST, *s3).into())
}
