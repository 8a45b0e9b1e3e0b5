//! IBM Cloud.

use anyhow::{Context as _, Result, ensure};
use devcluster::programs;
use devcluster::stores::{Call, Ibm, IbmOptions, Moto, Seaweed, SeaweedOptions};
use hyper::Method;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::process::Command;

const ACCOUNT: &str = "account-1";

/// Runs a script of `tests/stores/ibm` with IBM's own clients.
async fn script(name: &str, arguments: &[&str]) -> Result<()> {
    let python = programs::ibm_clients().await?;
    let home = TempDir::new()?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/stores/ibm")
        .join(name);
    let ran = Command::new(python)
        .arg("-I")
        .arg(script)
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .kill_on_drop(true)
        .output()
        .await?;
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    ensure!(
        ran.status.success() && out.contains("done"),
        "{name}: {}\n{out}\n{err}",
        ran.status
    );
    Ok(())
}

#[tokio::test]
async fn ibm_clients_do_everything_with_instances_keys_buckets_and_objects() -> Result<()> {
    let ibm = Ibm::start(IbmOptions::moto(Moto::shared().await?))?;
    let key = ibm.api_key(ACCOUNT);
    ibm.group(ACCOUNT, "blue-group");
    script("everything.py", &[&ibm.url(), &key, "blue-group"]).await?;
    let instances = ibm.instances("blue");
    let (crn, state, request) = instances.first().context("no instance")?;
    ensure!(
        state == "active" && request["tags"][0] == "kubernetes.io_cluster_blue:owned",
        "{request}"
    );
    ensure!(ibm.keys(crn).len() == 11);
    Ok(())
}

#[tokio::test]
async fn a_bucket_on_seaweedfs_is_reached_with_hmac_keys() -> Result<()> {
    let seaweed = Seaweed::start(SeaweedOptions::default()).await?;
    let ibm = Ibm::start(IbmOptions::seaweed(&seaweed))?;
    let group = ibm.group(ACCOUNT, "blue-group");
    let crn = ibm.make_instance(ACCOUNT, "blue", &group);
    ibm.make_bucket(&crn, "of-seaweed").await?;
    let key = ibm.make_key(&crn, "blue", "Writer").await?;
    let keys = ibm.hmac(&key).context("no HMAC keys")?;
    let put = Call::new(Method::PUT, "/of-seaweed/a")
        .body(b"layer")
        .signed(&keys, "s3", "us-south");
    ibm.target().call(put).await?.good()?;
    let get = Call::new(Method::GET, "/of-seaweed/a").signed(&keys, "s3", "us-south");
    ensure!(ibm.target().call(get).await?.good()?.text() == "layer");
    Ok(())
}

#[tokio::test]
async fn ibm_clients_are_refused_in_ibm_s_words() -> Result<()> {
    let ibm = Ibm::start(IbmOptions::moto(Moto::shared().await?))?;
    let key = ibm.api_key(ACCOUNT);
    script("refused.py", &[&ibm.url(), &key]).await
}
