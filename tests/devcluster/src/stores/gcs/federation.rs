//! Workload identity federation: a pool that trusts a cluster's tokens.

use super::super::TokenKey;
use super::state::Provider;
use super::{Gcs, impersonation_url};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::path::Path;

/// A provider of a workload identity pool.
#[derive(Clone, Debug)]
pub struct Federation {
    /// What a token exchange names: `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/...`.
    pub audience: String,
    pool: String,
}

impl Federation {
    /// Who a subject such as `system:serviceaccount:openshift-image-registry:registry` is, for [`Gcs::allow`] and
    /// [`Gcs::let_impersonate`].
    pub fn principal(&self, subject: &str) -> String {
        format!(
            "principal://iam.googleapis.com/projects/{}/subject/{subject}",
            self.pool
        )
    }

    /// The credential file (`type: external_account`) for services at public names of the default universe; it becomes the
    /// service account, if there is one.
    pub fn public_file(&self, token: &Path, email: Option<&str>) -> Value {
        let iam = "https://iamcredentials.googleapis.com";
        self.file(
            token,
            "https://sts.googleapis.com/v1/token",
            email.map(|email| impersonation_url(iam, email)),
        )
    }

    fn file(&self, token: &Path, sts: &str, impersonation: Option<String>) -> Value {
        let mut file = json!({
            "type": "external_account",
            "audience": self.audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": sts,
            "credential_source": { "file": token, "format": { "type": "text" } },
            "universe_domain": "googleapis.com",
        });
        if let Some(url) = impersonation {
            file["service_account_impersonation_url"] = url.into();
        }
        file
    }
}

impl Gcs {
    /// A pool of a project that trusts tokens of a cluster, or of a [`super::super::TokenIssuer`], for an audience such as
    /// `openshift`.
    pub fn federation(&self, project: &str, pool: &str, key: TokenKey, audience: &str) -> Result<Federation> {
        let mut state = self.state();
        let number = state.projects.get(project).context("no such project")?.number;
        let pool = format!("{number}/locations/global/workloadIdentityPools/{pool}");
        let name = format!("//iam.googleapis.com/projects/{pool}/providers/cluster");
        let provider = Provider {
            pool: pool.clone(),
            key,
            audience: audience.to_owned(),
        };
        state.providers.insert(name.clone(), provider);
        Ok(Federation { audience: name, pool })
    }

    /// The credential file for services at this address; it becomes the service account, if there is one.
    pub fn federation_file(&self, federation: &Federation, token: &Path, email: Option<&str>) -> Value {
        let impersonation = email.map(|email| self.impersonation_url(email));
        federation.file(token, &self.sts_url(), impersonation)
    }

    /// Lets somebody be a service account (role `iam.workloadIdentityUser`).
    pub fn let_impersonate(&self, principal: &str, email: &str) {
        let mut state = self.state();
        let may = state.impersonators.entry(email.to_owned()).or_default();
        may.insert(principal.to_owned());
    }

    /// Lets nobody be a service account any more.
    pub fn let_nobody_impersonate(&self, email: &str) {
        self.state().impersonators.remove(email);
    }
}
