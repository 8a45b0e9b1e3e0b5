//! Ceph's RADOS Gateway, which speaks Swift: a monitor, one storage daemon that keeps all in memory, and the gateway. Tokens are
//! those of Keystone.
//!
//! Not a cluster as anybody would run it: no authentication between its daemons, one replica, no manager.

use super::keystone::Keystone;
use super::project::Project;
use crate::stores::Account;
use crate::stores::home::Home;
use crate::stores::wire::{Call, Target};
use crate::{files, process, programs};
use anyhow::Result;
use hyper::Method;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// The region of the catalogue that a gateway serves.
pub const CEPH: &str = "Ceph";
/// What `rgw swift url prefix` is unless set.
const PREFIX: &str = "/swift";
/// Identities of the cluster and of its storage daemon.
const CLUSTER: &str = "6e2c3a4c-6c0f-4d44-8d0f-0a8b3f3f9a10";
const DAEMON: &str = "0b8f3f3f-1a10-4a4c-8d0f-6e2c3a4c6c0f";
/// The daemons wait for changes to gather, and speak encrypted, unless told otherwise; one of each kind suffices. Buckets are small: with
/// several shards of an index, each request costs several times the CPU. Nothing runs beside the requests, and nothing is logged in memory.
const SETTINGS: &str = "\
auth cluster required = none
auth service required = none
auth client required = none
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
ms bind msgr1 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
log to stderr = true
err to stderr = true
log file =
mon cluster log file =
pid file =
admin socket =
paxos propose interval = 0.05
paxos min wait = 0.01
mon allow pool size one = true
osd objectstore = memstore
memstore device bytes = 4294967296
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd enable op tracker = false
rgw override bucket index max shards = 1
rgw dynamic resharding = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw run sync thread = false
debug ms = 0/0
debug osd = 0/0
debug rgw = 0/0
debug objclass = 0/0
debug memstore = 0/0
";

/// A running gateway; dropped, it is gone with all that it holds. The Keystone that it asks, over plain HTTP, must outlive it.
#[derive(Debug)]
pub struct Rgw {
    home: Home,
    target: Target,
}

impl Rgw {
    /// Starts it; it answers, and is in the catalogue in region [`CEPH`], when this returns.
    pub async fn start(keystone: &Keystone) -> Result<Self> {
        let programs = programs::ceph().await?;
        let home = Home::in_memory("rgw", 2)?;
        let [monitor, port] = home.ports() else {
            anyhow::bail!("two ports");
        };
        let address = (Ipv4Addr::LOCALHOST, *port).into();
        let cluster = Cluster {
            programs: &programs,
            directory: home.directory(),
            monitor: format!("[v2:127.0.0.1:{monitor}]"),
        };
        cluster.write_settings(keystone)?;
        cluster.make()?;
        home.spawn("mon", cluster.command("ceph-mon", &["-i", "a", "-f"]))?;
        home.spawn("osd", cluster.command("ceph-osd", &["-i", "0", "-f"]))?;
        let endpoint = format!("beast endpoint={address}");
        let arguments = ["-n", "client.rgw", "-f", "--rgw-frontends", &endpoint];
        home.spawn("rgw", cluster.command("radosgw", &arguments))?;
        let target = Target { address, tls: None };
        let mut rgw = Self { home, target };
        rgw.ready(keystone).await?;
        Ok(rgw)
    }

    async fn ready(&mut self, keystone: &Keystone) -> Result<()> {
        let path = format!("{PREFIX}/info");
        self.home
            .until("Ceph's gateway answers", || async {
                let answer = self.target.call(Call::new(Method::GET, &path)).await;
                answer.ok().filter(|answer| answer.status == 200)
            })
            .await?;
        let url = format!("{}{PREFIX}", self.url());
        keystone.set_swift(CEPH, Some(&url)).await?;
        self.home.complete = true;
        Ok(())
    }

    /// URL without a path: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The account of a project, seen with a token of its user.
    pub fn account_with(&self, project: &Project, token: &str) -> Account {
        Account::new(&self.target, format!("{PREFIX}/v1/AUTH_{}", project.id), token)
    }

    /// Where its logs lie, among others.
    pub fn directory(&self) -> &Path {
        self.home.directory()
    }
}

/// What the daemons are started with.
struct Cluster<'a> {
    programs: &'a programs::Ceph,
    directory: &'a Path,
    monitor: String,
}

impl Cluster<'_> {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = process::command(self.programs.programs.join(program));
        command
            .current_dir(self.directory)
            .env("LD_LIBRARY_PATH", &self.programs.libraries);
        command.args(["-c", "ceph.conf"]).args(arguments);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        process::run(&mut self.command(program, arguments)).map(drop)
    }

    fn write_settings(&self, keystone: &Keystone) -> Result<()> {
        let directory = self.directory.display();
        let keystone_url = keystone.target().origin(&keystone.target().address.to_string());
        let settings = format!(
            "[global]\n{SETTINGS}fsid = {CLUSTER}\nmon host = {}\nkeyring = {directory}/keyring\nrun dir = {directory}\n\
             plugin dir = {}\nerasure code dir = {}\nosd class dir = {}\n\
             [mon.a]\nmon data = {directory}/mon\n\
             [osd.0]\nosd data = {directory}/osd\nosd uuid = {DAEMON}\n\
             [client.rgw]\nrgw swift account in url = true\nrgw keystone url = {keystone_url}\nrgw keystone api version = 3\n\
             rgw keystone admin user = swift\nrgw keystone admin password = {}\nrgw keystone admin project = service\n\
             rgw keystone admin domain = Default\nrgw keystone accepted roles = member\n\
             rgw keystone implicit tenants = false\n",
            self.monitor,
            self.programs.plugins.display(),
            self.programs.plugins.join("erasure-code").display(),
            self.programs.classes.display(),
            programs::OPENSTACK_PASSWORD,
        );
        files::write(&self.directory.join("ceph.conf"), settings)?;
        files::write(&self.directory.join("keyring"), "")
    }

    /// Makes the stores of monitor and storage daemon. The monitor's first map has the storage daemon, which therefore needs no
    /// client that announces it.
    fn make(&self) -> Result<()> {
        for name in ["mon", "osd"] {
            files::create_dir(&self.directory.join(name))?;
        }
        let monitor = ["--create", "--fsid", CLUSTER, "--addv", "a", &self.monitor, "monmap"];
        self.run("monmaptool", &monitor)?;
        self.run("osdmaptool", &["--createsimple", "1", "osdmap"])?;
        let maps = ["--monmap", "monmap", "--osdmap", "osdmap", "--keyring", "keyring"];
        let monitor = [["-i", "a", "--mkfs"].as_slice(), &maps].concat();
        self.run("ceph-mon", &monitor)?;
        // Otherwise it waits for the monitor.
        self.run("ceph-osd", &["-i", "0", "--mkfs", "--no-mon-config"])
    }
}
