//! What of the published CAs is the operator's, and what is the user's.

use rustls_pki_types::CertificateDer;

use crate::api::Kind;
use crate::config::snapshot::Objects;
use crate::names;
use crate::plan::own_certificates::{parse, pem};

/// What the operator publishes itself under the registry's host names, now and before this pass.
pub(super) struct Own {
    /// The CAs of the registry's certificate, PEM.
    authorities: String,
    /// The published CA of the storage, PEM.
    storage: String,
    /// All of them, also earlier ones.
    certificates: Vec<CertificateDer<'static>>,
}

impl Own {
    /// From the CAs of the registry's certificate, and the CA of the storage that is published and that will be.
    pub(super) fn of(objects: &Objects, authorities: Option<String>, storage: [Option<String>; 2]) -> Self {
        let authorities = authorities.unwrap_or_default();
        let [storage, next] = storage.map(Option::unwrap_or_default);
        // It has what the operator published before a CA changed, and nothing of the user.
        let shared = objects.get(Kind::ConfigMap, names::CONFIG_MANAGED_NAMESPACE, names::CA_MAP);
        let shared = shared.and_then(|map| map.get("data")?.as_object());
        let earlier = shared.into_iter().flatten().filter_map(|(_, text)| text.as_str());
        let all = [authorities.as_str(), &storage, &next].into_iter().chain(earlier);
        Self {
            certificates: all.flat_map(parse).collect(),
            authorities,
            storage,
        }
    }

    /// The user's certificates in an entry under a host name of the registry; `None` if it has none. Their text stays as it is where it
    /// can, so that the ConfigMap does not change and no pod is replaced.
    pub(super) fn without(&self, entry: &str) -> Option<String> {
        let rest = self.between(entry);
        let all = parse(rest);
        let is_own = |certificate: &CertificateDer<'_>| self.certificates.contains(certificate);
        if all.iter().any(is_own) {
            let kept: Vec<_> = all.into_iter().filter(|certificate| !is_own(certificate)).collect();
            return (!kept.is_empty()).then(|| pem(&kept));
        }
        (!all.is_empty()).then(|| rest.to_owned())
    }

    /// The text between the CAs that come first and the CA of the storage.
    fn between<'a>(&self, entry: &'a str) -> &'a str {
        let rest = entry.strip_prefix(&self.authorities).unwrap_or(entry);
        let rest = if self.authorities.ends_with('\n') {
            rest
        } else {
            rest.strip_prefix('\n').unwrap_or(rest)
        };
        let before = rest.strip_suffix(&self.storage).filter(|_| !self.storage.is_empty());
        before.and_then(|rest| rest.strip_suffix('\n')).unwrap_or(rest)
    }
}
