//! The cluster's certificates: one authority for all, and the key that signs service account tokens.

use crate::{files, layout::Layout};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The certificate authority of one cluster; what it issues lies in the cluster's `pki` directory.
pub(crate) struct Pki {
    layout: Layout,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Pki {
    pub fn create(layout: &Layout) -> Result<Self> {
        files::create_dir(&layout.pki())?;
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "devcluster");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = parameters.self_signed(&key)?.pem();
        files::write(&layout.pki().join("ca.crt"), &certificate)?;
        write_key(layout, "ca.key", &key)?;

        let tokens = KeyPair::generate()?;
        write_key(layout, "service-account.key", &tokens)?;
        files::write(&layout.pki().join("service-account.pub"), tokens.public_key_pem())?;
        Ok(Self {
            layout: layout.clone(),
            issuer: Issuer::new(parameters, key),
            certificate,
        })
    }

    pub fn certificate(name: &str, layout: &Layout) -> PathBuf {
        layout.pki().join(format!("{name}.crt"))
    }

    pub fn key(name: &str, layout: &Layout) -> PathBuf {
        layout.pki().join(format!("{name}.key"))
    }

    /// Issues `NAME.crt` and `NAME.key`, good for a server under `names` and for a client.
    pub fn issue(&self, name: &str, organization: Option<&str>, common_name: &str, names: &[String]) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(names)?;
        if let Some(organization) = organization {
            parameters
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        files::write(&Self::certificate(name, &self.layout), certificate.pem())?;
        write_key(&self.layout, &format!("{name}.key"), &key)
    }

    /// Issues a client certificate and writes a kubeconfig with it.
    pub fn user(&self, name: &str, organization: Option<&str>, common_name: &str, server: &str) -> Result<()> {
        self.issue(name, organization, common_name, &[])?;
        self.kubeconfig(name, server)
    }

    /// Writes a kubeconfig with an issued certificate.
    pub fn kubeconfig(&self, name: &str, server: &str) -> Result<()> {
        let user = json!({
            "client-certificate-data": encode(&files::read(&Self::certificate(name, &self.layout))?),
            "client-key-data": encode(&files::read(&Self::key(name, &self.layout))?),
        });
        write_kubeconfig(&self.layout.kubeconfig(name), server, &self.certificate, name, &user)
    }
}

/// Writes a kubeconfig that needs no other file.
pub(crate) fn write_kubeconfig(
    path: &std::path::Path,
    server: &str,
    authority: &str,
    name: &str,
    user: &Value,
) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "devcluster",
        "clusters": [{
            "name": "devcluster",
            "cluster": { "server": server, "certificate-authority-data": encode(authority) },
        }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": "devcluster", "context": { "cluster": "devcluster", "user": name } }],
    });
    files::write(path, serde_json::to_string_pretty(&config)?)?;
    files::set_mode(path, 0o600)
}

fn encode(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn write_key(layout: &Layout, name: &str, key: &KeyPair) -> Result<()> {
    let path = layout.pki().join(name);
    files::write(&path, key.serialize_pem()).context("private key")?;
    files::set_mode(&path, 0o600)
}
