//! Who is known to Entra ID: applications (service principals and managed identities) with their credentials, and the roles
//! that they have.

use super::Azure;
use super::state::{Assignment, Role, Subscription, now, random, uuid};
use crate::stores::TokenKey;
use anyhow::{Context as _, Result};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An application, or a managed identity: to a client they differ in their credentials only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraApplication {
    /// Client ID, also called application ID.
    pub client_id: String,
    /// Object ID of its service principal, which errors name.
    pub object_id: String,
    /// ID of its tenant.
    pub tenant: String,
}

#[derive(Clone, Debug)]
pub(super) struct Application {
    pub object_id: String,
    pub tenant: String,
    /// Client secrets, and when each ends (seconds since 1970).
    pub secrets: Vec<(String, i64)>,
    pub certificates: Vec<Registered>,
    pub federations: Vec<Federation>,
    /// An assertion that is signed with a certificate must carry the certificate (`x5c`): subject name and issuer count.
    pub needs_chain: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub der: Vec<u8>,
    /// `RSAPublicKey` of PKCS#1.
    pub public: Vec<u8>,
}

/// A federated identity credential.
#[derive(Clone, Debug)]
pub(super) struct Federation {
    pub key: TokenKey,
    pub subject: String,
    pub audience: String,
}

impl Registered {
    /// Whether a header of a JWT names this certificate, by one of its thumbprints.
    pub fn is_named(&self, header: &Value) -> bool {
        // Some clients pad.
        let named = |field: &str| {
            header[field]
                .as_str()
                .unwrap_or_default()
                .trim_end_matches('=')
                .to_owned()
        };
        let thumbprint = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, &self.der));
        named("x5t#S256") == thumbprint(&digest::SHA256)
            || named("x5t") == thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY)
    }

    /// Whether a header of a JWT begins its chain with this certificate.
    pub fn is_shown(&self, header: &Value) -> bool {
        header["x5c"][0] == STANDARD.encode(&self.der).as_str()
    }
}

/// A certificate with its private key, as an application holds it.
#[derive(Clone)]
pub struct EntraCertificate {
    /// PEM.
    pub certificate: String,
    /// PEM, PKCS#8; RSA with 2048 bits.
    pub key: String,
    der: Vec<u8>,
    public: Vec<u8>,
}

impl std::fmt::Debug for EntraCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntraCertificate").finish_non_exhaustive()
    }
}

impl EntraCertificate {
    /// A new one that signs itself.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
            public: key.public_key_raw().to_vec(),
        })
    }

    /// Certificate and key in one PEM file, as `AZURE_CLIENT_CERTIFICATE_PATH` names one.
    pub fn pem(&self) -> String {
        format!("{}{}", self.key, self.certificate)
    }

    /// The file of credentials that a hosted control plane mounts for a managed identity: `client_secret` is the PEM file in
    /// base64, `authentication_endpoint` as given. Times are RFC 3339.
    pub fn managed_identity_file(
        &self,
        application: &EntraApplication,
        authentication_endpoint: &str,
        not_before: &str,
        not_after: &str,
    ) -> Value {
        json!({
            "authentication_endpoint": authentication_endpoint,
            "client_id": application.client_id,
            "client_secret": STANDARD.encode(self.pem()),
            "client_secret_url": "https://westeurope.identity.azure.net/credentials",
            "internal_id": uuid(),
            "not_before": not_before,
            "not_after": not_after,
            "renew_after": not_after,
            "cannot_renew_after": not_after,
            "object_id": application.object_id,
            "tenant_id": application.tenant,
        })
    }
}

impl Azure {
    /// Makes a tenant; its ID.
    pub fn tenant(&self) -> String {
        let tenant = uuid();
        self.state().tenants.insert(tenant.clone());
        tenant
    }

    /// Makes a subscription of a tenant; its ID. The resource providers are registered.
    pub fn subscription(&self, tenant: &str) -> String {
        let id = uuid();
        let subscription = Subscription {
            tenant: tenant.to_owned(),
            unregistered: BTreeSet::new(),
        };
        self.state().subscriptions.insert(id.clone(), subscription);
        id
    }

    /// Says whether a subscription has a resource provider, such as `Microsoft.Network`, registered.
    pub fn register_provider(&self, subscription: &str, namespace: &str, registered: bool) {
        if let Some(subscription) = self.state().subscriptions.get_mut(subscription) {
            if registered {
                subscription.unregistered.remove(&namespace.to_lowercase());
            } else {
                subscription.unregistered.insert(namespace.to_lowercase());
            }
        }
    }

    /// Makes an application of a tenant, or a managed identity, without credentials and roles.
    pub fn application(&self, tenant: &str) -> EntraApplication {
        let made = EntraApplication {
            client_id: uuid(),
            object_id: uuid(),
            tenant: tenant.to_owned(),
        };
        let application = Application {
            object_id: made.object_id.clone(),
            tenant: made.tenant.clone(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            federations: Vec::new(),
            needs_chain: false,
        };
        self.state().applications.insert(made.client_id.clone(), application);
        made
    }

    fn change(&self, application: &EntraApplication, change: impl FnOnce(&mut Application)) -> Result<()> {
        let mut state = self.state();
        let application = state.applications.get_mut(&application.client_id);
        change(application.context("no such application")?);
        Ok(())
    }

    /// Makes a client secret, one more.
    pub fn add_secret(&self, application: &EntraApplication) -> Result<String> {
        let secret = format!("8Q~{}", URL_SAFE_NO_PAD.encode(random::<27>()));
        self.change(application, |known| known.secrets.push((secret.clone(), i64::MAX)))?;
        Ok(secret)
    }

    /// Takes all client secrets away; tokens that were issued live on.
    pub fn remove_secrets(&self, application: &EntraApplication) -> Result<()> {
        self.change(application, |known| known.secrets.clear())
    }

    /// All client secrets have expired.
    pub fn expire_secrets(&self, application: &EntraApplication) -> Result<()> {
        let ended = now() - 1;
        self.change(application, |known| {
            known.secrets.iter_mut().for_each(|(_, ends)| *ends = ended);
        })
    }

    /// Registers a certificate, one more.
    pub fn add_certificate(&self, application: &EntraApplication, certificate: &EntraCertificate) -> Result<()> {
        let registered = Registered {
            der: certificate.der.clone(),
            public: certificate.public.clone(),
        };
        self.change(application, |known| known.certificates.push(registered))
    }

    /// Takes a certificate away.
    pub fn remove_certificate(&self, application: &EntraApplication, certificate: &EntraCertificate) -> Result<()> {
        self.change(application, |known| {
            known.certificates.retain(|one| one.der != certificate.der);
        })
    }

    /// Says whether assertions that are signed with a certificate must carry it in `x5c`, as those of hosted control planes.
    pub fn require_chain(&self, application: &EntraApplication, required: bool) -> Result<()> {
        self.change(application, |known| known.needs_chain = required)
    }

    /// Adds a federated identity credential: a token of a cluster for `subject` and `audience`, which `key` has signed,
    /// counts as a credential.
    pub fn federate(&self, application: &EntraApplication, key: TokenKey, subject: &str, audience: &str) -> Result<()> {
        let federation = Federation {
            key,
            subject: subject.to_owned(),
            audience: audience.to_owned(),
        };
        self.change(application, |known| known.federations.push(federation))
    }

    /// Takes all federated identity credentials away.
    pub fn remove_federations(&self, application: &EntraApplication) -> Result<()> {
        self.change(application, |known| known.federations.clear())
    }

    /// Takes an application away; its tokens do not count any more.
    pub fn delete_application(&self, application: &EntraApplication) {
        self.state().applications.remove(&application.client_id);
    }

    /// Instance metadata hands out tokens for these, the first by default.
    pub fn assign_identities(&self, identities: &[&EntraApplication]) {
        self.state().assigned = identities.iter().map(|one| one.client_id.clone()).collect();
    }

    /// Gives a role, beside those that the application has, at a scope such as `/subscriptions/S/resourceGroups/G`.
    pub fn allow(&self, application: &EntraApplication, scope: &str, role: Role) {
        self.state().assignments.push(Assignment {
            client_id: application.client_id.clone(),
            scope: scope.to_lowercase(),
            role,
        });
    }

    /// Takes all roles away.
    pub fn deny(&self, application: &EntraApplication) {
        let mut state = self.state();
        state.assignments.retain(|one| one.client_id != application.client_id);
    }

    /// How many seconds tokens live that are issued from now on.
    pub fn token_lifetime(&self, seconds: i64) {
        self.state().token_seconds = seconds;
    }

    /// Ends the tokens that were issued to this application. Tests share a cloud, so that others keep theirs.
    pub fn end_tokens(&self, application: &EntraApplication) {
        let ended = now() - 1;
        let mut state = self.state();
        let issued = state.tokens.values_mut();
        for token in issued.filter(|token| token.client_id == application.client_id) {
            token.expires = ended;
        }
    }

    /// How many tokens were issued.
    pub fn tokens(&self) -> usize {
        self.state().tokens.len()
    }
}
