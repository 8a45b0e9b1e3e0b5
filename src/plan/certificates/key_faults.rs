//! Events about keys of the user's ConfigMap: one for each kind of fault, however many keys have it.

use crate::config::event_request::EventRequest;

/// The ConfigMap of the user, as messages name it.
const SOURCE: &str = "the ConfigMap that spec.additionalTrustedCA of image.config.openshift.io/cluster names";
/// How many keys an event names.
const NAMED: usize = 10;

/// The faults of all keys.
#[derive(Default)]
pub(super) struct KeyFaults(Vec<KeyFault>);

struct KeyFault {
    reason: &'static str,
    text: String,
    keys: Vec<String>,
}

impl KeyFaults {
    /// Adds a key. `reason`: that of the event. `text`: what follows the key and the ConfigMap in the message.
    pub(super) fn add(&mut self, reason: &'static str, key: &str, text: impl Into<String>) {
        let text = text.into();
        let kind = self
            .0
            .iter_mut()
            .find(|kind| kind.reason == reason && kind.text == text);
        match kind {
            Some(kind) if kind.keys.iter().any(|known| known == key) => {}
            Some(kind) => kind.keys.push(key.to_owned()),
            None => self.0.push(KeyFault {
                reason,
                text,
                keys: vec![key.to_owned()],
            }),
        }
    }

    /// The events, all of them warnings.
    pub(super) fn events(self) -> Vec<EventRequest> {
        self.0.into_iter().map(KeyFault::event).collect()
    }
}

impl KeyFault {
    /// The first key, the fault and the remedy, then the other keys: the API cuts a long message.
    fn event(self) -> EventRequest {
        let Self { reason, text, keys } = self;
        let first = keys.first().map(String::as_str).unwrap_or_default();
        let others: Vec<&str> = keys.iter().skip(1).take(NAMED - 1).map(String::as_str).collect();
        let others = match (others.join(", "), keys.len().saturating_sub(NAMED)) {
            (named, _) if named.is_empty() => String::new(),
            (named, 0) => format!(". The same is true of {named}"),
            (named, more) => format!(". The same is true of {named} and {more} more"),
        };
        EventRequest {
            warning: true,
            reason,
            message: format!("Key {first} of {SOURCE} {text}{others}"),
        }
    }
}
