//! An access key that does not expire, as the identity of a bucket; and its text for the registry.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use futures::future::BoxFuture;

use super::client::Identity;
use crate::api::Sensitive;
use crate::storage::model::call::Called;

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticKeys {
    /// Access key ID.
    pub id: String,
    /// Secret access key.
    pub secret: Sensitive,
}

impl StaticKeys {
    /// The text of a shared config file of AWS, which the registry reads. Identical to that of the Go operator: another text
    /// would cause a rollout.
    pub fn text(&self) -> Sensitive {
        Sensitive::new(format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            self.id,
            self.secret.expose()
        ))
    }

    /// The access key of such a text; `None` if it has none.
    pub fn of_text(text: &Sensitive) -> Option<Self> {
        let value = |key: &str| {
            let mut pairs = text.expose().lines().filter_map(|line| line.split_once('='));
            let found = pairs.find(|(name, _)| name.trim() == key)?.1.trim();
            (!found.is_empty()).then(|| found.to_owned())
        };
        Some(Self {
            id: value("aws_access_key_id")?,
            secret: Sensitive::new(value("aws_secret_access_key")?),
        })
    }
}

impl Identity for StaticKeys {
    fn provider(self: Arc<Self>) -> Option<SharedCredentialsProvider> {
        let credentials = Credentials::new(&self.id, self.secret.expose(), None, None, "secret");
        Some(SharedCredentialsProvider::new(credentials))
    }

    fn account(&self) -> BoxFuture<'_, Called<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    fn renew(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn renewals(&self) -> u64 {
        0
    }

    fn secrets(&self) -> Vec<Sensitive> {
        vec![self.secret.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_for_the_registry_is_read_back() {
        let keys = StaticKeys {
            id: "0123abcd".to_owned(),
            secret: Sensitive::new("c2Vj=cmV0"),
        };
        let text = keys.text();
        let lines: Vec<_> = text.expose().lines().collect();
        let expected = [
            "[default]",
            "aws_access_key_id = 0123abcd",
            "aws_secret_access_key = c2Vj=cmV0",
        ];
        assert_eq!(lines, expected);
        assert_eq!(StaticKeys::of_text(&text), Some(keys));
        for text in [
            "",
            "[default]\naws_access_key_id = x\n",
            "[default]\naws_access_key_id =\naws_secret_access_key = y",
        ] {
            assert_eq!(StaticKeys::of_text(&Sensitive::new(text)), None, "{text}");
        }
    }
}
