//! What the tests share: clients whose time, leadership and proxy a test sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use devcluster::stores::{Asked, Authority, Fault, Gate, Keys, Reply, Target};
use image_registry_operator::api::Sensitive;
use image_registry_operator::api::registry_storage::S3Storage;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::StorageClients;
use image_registry_operator::storage::backend::s3::credentials::Credentials;
use image_registry_operator::storage::backend::s3::effective::Effective;
use image_registry_operator::storage::backend::s3::profile::Profile;
use image_registry_operator::storage::backend::s3::session::Token;
use image_registry_operator::storage::backend::s3::{Connection, connect, endpoint};
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::http::{Egress, Trust};
use image_registry_operator::storage::net::network::Settings;
use image_registry_operator::storage::s3api::client::Bucket;

/// Version in the user agent.
pub const VERSION: &str = "7.6.5";
/// Name of the bucket, unless a test wants another.
pub const BUCKET: &str = "images";

/// Clients, and what tests set and read of them.
pub struct Bench {
    pub clients: StorageClients,
    pub waits: Arc<Mutex<Vec<Duration>>>,
    pub now: Arc<Mutex<SystemTime>>,
    pub leads: Arc<AtomicBool>,
    pub proxies: Arc<Mutex<Proxies>>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with_root(PathBuf::new())
    }

    pub fn with_root(root: PathBuf) -> Self {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let now = Arc::new(Mutex::new(SystemTime::now()));
        let leads = Arc::new(AtomicBool::new(true));
        let proxies = Arc::new(Mutex::new(Proxies::default()));
        let (used_proxies, leading) = (proxies.clone(), leads.clone());
        let settings = Settings {
            version: VERSION.to_owned(),
            proxies: Arc::new(move || used_proxies.lock().unwrap().clone()),
            leading: Arc::new(move || leading.load(Ordering::Relaxed)),
            fips: false,
            root,
        };
        let (clock, slept) = (now.clone(), waits.clone());
        let clock = Clock {
            now: Arc::new(move || *clock.lock().unwrap()),
            sleep: Arc::new(move |time| {
                slept.lock().unwrap().push(time);
                Box::pin(async {})
            }),
        };
        Self {
            clients: StorageClients::new(settings).with_clock(clock),
            waits,
            now,
            leads,
            proxies,
        }
    }

    /// Hosts whose names end so are there.
    pub fn knowing(mut self, hosts: &[(&str, SocketAddr)]) -> Self {
        let hosts: Vec<_> = hosts.iter().map(|(host, at)| ((*host).to_owned(), *at)).collect();
        let names = move |name: &str| {
            let known = hosts
                .iter()
                .find(|(host, _)| name == host || name.ends_with(&format!(".{host}")));
            known.map(|(_, at)| *at)
        };
        self.clients = self.clients.with_http(|http| http.with_names(Arc::new(names)));
        self
    }

    pub fn bucket(&self, access: &Access) -> Bucket {
        let (network, identities) = (self.clients.network(), self.clients.s3_identities());
        connect(network, identities, access.connection(), &access.bucket).unwrap()
    }

    pub fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    pub fn waited(&self) -> Vec<Duration> {
        std::mem::take(&mut self.waits.lock().unwrap())
    }
}

/// How a bucket is reached.
#[derive(Clone)]
pub struct Access {
    pub bucket: String,
    pub effective: Effective,
    pub credentials: Credentials,
    pub token: Token,
    pub trust: Trust,
    pub sts_trust: Trust,
    pub egress: Egress,
    pub pin_owner: bool,
}

impl Access {
    /// At a custom endpoint, path style, with keys that nobody knows.
    pub fn at(url: &str) -> Self {
        Self {
            effective: effective("eu-west-1", Some(url)),
            ..Self::public("eu-west-1")
        }
    }

    /// At the public endpoint of a region, trusting nobody.
    pub fn public(region: &str) -> Self {
        Self {
            bucket: BUCKET.to_owned(),
            effective: effective(region, None),
            credentials: keys(&Keys::new("AKIATESTSOFTHECLIENT", "a-key-that-nobody-must-see")),
            token: Token::File(PathBuf::new()),
            trust: Trust::default(),
            sts_trust: Trust::default(),
            egress: Egress::Process,
            pin_owner: false,
        }
    }

    pub fn with_keys(self, who: &Keys) -> Self {
        Self {
            credentials: keys(who),
            ..self
        }
    }

    /// As somebody whom STS tells.
    pub fn with_profile(self, profile: Profile, token: Token) -> Self {
        Self {
            credentials: Credentials {
                text: Sensitive::new(text(&profile)),
                profile,
                ..self.credentials
            },
            token,
            ..self
        }
    }

    pub fn trusting(self, authority: &Authority) -> Self {
        let trust = Trust {
            bundle: authority.pem().to_owned(),
            system: false,
            unverified: false,
        };
        Self {
            trust: trust.clone(),
            sts_trust: trust,
            ..self
        }
    }

    pub fn named(self, bucket: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            ..self
        }
    }

    pub fn connection(&self) -> Connection<'_> {
        Connection {
            effective: &self.effective,
            credentials: &self.credentials,
            token: self.token.clone(),
            trust: self.trust.clone(),
            sts_trust: self.sts_trust.clone(),
            egress: self.egress.clone(),
            pin_owner: self.pin_owner,
        }
    }
}

/// Stands for the text that a profile is from: another for another profile.
fn text(profile: &Profile) -> String {
    match profile {
        Profile::Static { secret, .. } => format!("{profile:?} {}", secret.expose()),
        Profile::AssumeRole { by, .. } => format!("{profile:?} {}", text(by)),
        Profile::WebIdentity { .. } => format!("{profile:?}"),
    }
}

fn effective(region: &str, url: Option<&str>) -> Effective {
    Effective {
        spec: S3Storage::default(),
        region: region.to_owned(),
        endpoint: url.map(str::to_owned),
        rendered_endpoint: url.map(str::to_owned),
        virtual_hosted: false,
        partition: endpoint::partition(region),
        sts_endpoint: None,
    }
}

fn keys(who: &Keys) -> Credentials {
    Credentials {
        text: Sensitive::new(who.profile()),
        source: "Secret openshift-image-registry/installer-cloud-credentials".to_owned(),
        profile: Profile::Static {
            id: who.id.clone(),
            secret: Sensitive::new(&who.secret),
            session: who.session.as_deref().map(Sensitive::new),
        },
        region: None,
        fips: false,
    }
}

/// A gate with nothing behind it: every request gets what `answer` says.
pub fn answering(
    authority: Option<&Authority>,
    names: &[&str],
    mut answer: impl FnMut(&Asked) -> Reply + Send + 'static,
) -> Gate {
    let nowhere = Target::plain((Ipv4Addr::LOCALHOST, 9).into());
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let gate = Gate::start(&nowhere, authority, &names).unwrap();
    gate.rule(move |asked| Fault::Answer(answer(asked)));
    gate
}

/// The last of the given answers goes on for ever.
pub fn in_turn(answers: Vec<Reply>) -> impl FnMut(&Asked) -> Reply + Send + 'static {
    let mut next = 0;
    move |_| {
        let answer = answers[next.min(answers.len() - 1)].clone();
        next += 1;
        answer
    }
}

pub fn ok() -> Reply {
    Reply::new(200, "")
}
