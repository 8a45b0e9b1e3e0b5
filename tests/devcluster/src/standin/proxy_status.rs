//! Plays the network operator: the cluster Proxy's spec becomes its status.

use serde_json::{Map, Value};

use super::StandIn;
use super::cache::{Cache, Kind, text};
use super::write::Write;

const FIELDS: [&str; 3] = ["httpProxy", "httpsProxy", "noProxy"];

/// Copies what differs; a field that the spec no longer has is removed.
pub(super) fn plan(cache: &Cache) -> Vec<Write> {
    let Some(proxy) = cache.get(Kind::Proxy, "", "cluster") else {
        return Vec::new();
    };
    let mut status = Map::new();
    for field in FIELDS {
        let wanted = text(proxy, &format!("/spec/{field}"));
        if wanted != text(proxy, &format!("/status/{field}")) {
            status.insert(field.to_owned(), wanted.map_or(Value::Null, Value::from));
        }
    }
    if status.is_empty() {
        return Vec::new();
    }
    vec![Write::merge_status(
        StandIn::ProxyStatus,
        Kind::Proxy,
        proxy,
        &Value::Object(status),
    )]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::cache::fixture::cache;
    use super::super::write::Verb;
    use super::*;

    fn planned(spec: &Value, status: &Value) -> Option<Value> {
        let proxy = json!({"metadata": {"name": "cluster"}, "spec": spec, "status": status});
        plan(&cache([(Kind::Proxy, proxy)]))
            .pop()
            .map(|write| match write.verb {
                Verb::MergeStatus(body) => body["status"].clone(),
                other => panic!("{other:?}"),
            })
    }

    #[test]
    fn the_status_follows_the_spec_and_then_rests() {
        let spec = json!({"httpProxy": "http://p:1", "noProxy": ".svc"});
        let status = json!({"httpProxy": "http://p:1", "httpsProxy": "http://old:1"});
        assert_eq!(
            planned(&spec, &status),
            Some(json!({"httpsProxy": null, "noProxy": ".svc"}))
        );
        assert_eq!(planned(&spec, &spec), None);
        assert_eq!(planned(&json!({"httpProxy": ""}), &json!(null)), None);
    }
}
