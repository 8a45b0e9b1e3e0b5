//! Reads the variables `EXPOSE` and `EXPOSE_...`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names::{self, Exposure, GatewayRef, Way};

/// A variable that cannot be used. No variable has a secret, so that the value is told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("environment variable {variable} is {value:?}: {problem}")]
pub struct WrongExposure {
    variable: &'static str,
    value: String,
    problem: String,
}

impl WrongExposure {
    fn new(variable: &'static str, value: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            variable,
            value: value.into(),
            problem: problem.into(),
        }
    }
}

const EXPOSE: &str = "EXPOSE";
const DOMAIN: &str = "EXPOSE_DOMAIN";
const CLASS: &str = "EXPOSE_INGRESS_CLASS";
const GATEWAY: &str = "EXPOSE_GATEWAY";
const ANNOTATIONS: &str = "EXPOSE_ANNOTATIONS";

/// Prefixes of annotations that the operator sets itself.
const RESERVED: [&str; 2] = ["imageregistry.operator.openshift.io/", names::OWNED_ANNOTATION];
/// Longest name of an annotation, without its prefix.
const KEY_LENGTH: usize = 63;

/// Reads the variables; `take` returns the value of one that is set.
pub(super) fn read(mut take: impl FnMut(&str) -> Option<String>) -> Result<Exposure, WrongExposure> {
    let given = take(EXPOSE)
        .map(|name| {
            Way::named(&name)
                .ok_or_else(|| WrongExposure::new(EXPOSE, name, "it must be route, ingress, gateway or none"))
        })
        .transpose()?;
    let domain = take(DOMAIN).map(domain).transpose()?;
    let ingress_class = take(CLASS).map(class).transpose()?;
    let gateway = take(GATEWAY).map(|text| gateway(&text)).transpose()?;
    if given == Some(Way::Gateway) && gateway.is_none() {
        return Err(WrongExposure::new(GATEWAY, "", NO_GATEWAY));
    }
    let annotations = take(ANNOTATIONS).map(|text| annotations(&text)).transpose()?;
    Ok(Exposure {
        given,
        domain,
        ingress_class,
        gateway,
        annotations: annotations.unwrap_or_default(),
    })
}

const NO_GATEWAY: &str = "with EXPOSE=gateway it must name a Gateway as namespace/name or namespace/name/listener";

fn domain(text: String) -> Result<String, WrongExposure> {
    // A host below it has one more label of at most 63 characters.
    let fits = names::is_subdomain(&text) && text.len() <= 189 && text.split('.').all(|label| label.len() <= 63);
    let problem = "it must be a domain in lower case, such as apps.example.com";
    checked(DOMAIN, text, fits, problem)
}

fn class(text: String) -> Result<String, WrongExposure> {
    let fits = names::is_subdomain(&text);
    checked(CLASS, text, fits, "it must be the name of an IngressClass")
}

fn checked(variable: &'static str, text: String, fits: bool, problem: &str) -> Result<String, WrongExposure> {
    if fits {
        Ok(text)
    } else {
        Err(WrongExposure::new(variable, text, problem))
    }
}

fn gateway(text: &str) -> Result<GatewayRef, WrongExposure> {
    let parts: Vec<&str> = text.split('/').collect();
    let (namespace, name, section) = match parts.as_slice() {
        [namespace, name] => (*namespace, *name, None),
        [namespace, name, section] => (*namespace, *name, Some(*section)),
        _ => return Err(WrongExposure::new(GATEWAY, text, NO_GATEWAY)),
    };
    if ![Some(namespace), Some(name), section]
        .into_iter()
        .flatten()
        .all(names::is_subdomain)
    {
        return Err(WrongExposure::new(GATEWAY, text, NO_GATEWAY));
    }
    Ok(GatewayRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        section: section.map(str::to_owned),
    })
}

fn annotations(text: &str) -> Result<BTreeMap<String, String>, WrongExposure> {
    let wrong = |problem: String| WrongExposure::new(ANNOTATIONS, text, problem);
    let value: Value = serde_saphyr::from_str(text)
        .map_err(|_| wrong("it must be a YAML map of strings, such as {example.com/key: \"true\"}".to_owned()))?;
    let members = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(members) => members,
        _ => return Err(wrong("it must be a YAML map of strings".to_owned())),
    };
    let mut found = BTreeMap::new();
    for (key, value) in members {
        if !is_key(&key) {
            return Err(wrong(format!("{key:?} cannot be the key of an annotation")));
        }
        if RESERVED.iter().any(|prefix| key.starts_with(prefix)) {
            return Err(wrong(format!("the operator sets {key} itself")));
        }
        let Value::String(value) = value else {
            return Err(wrong(format!("the value of {key} must be a string: quote it")));
        };
        found.insert(key, value);
    }
    Ok(found)
}

/// Whether the API server accepts the key of an annotation: a name, with a domain and a slash before it if need be.
fn is_key(key: &str) -> bool {
    let (domain, name) = key
        .split_once('/')
        .map_or((None, key), |(domain, name)| (Some(domain), name));
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = [name.chars().next(), name.chars().last()];
    domain.is_none_or(|domain| names::is_subdomain(&domain.to_ascii_lowercase()))
        && name.len() <= KEY_LENGTH
        && name.chars().all(legal)
        && ends.into_iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Exposure, WrongExposure> {
        read(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_variables_are_read() {
        assert_eq!(of(&[]).unwrap(), Exposure::default());
        assert_eq!(of(&[]).unwrap().way(), Way::Route);
        for (name, way) in [("route", Way::Route), ("ingress", Way::Ingress), ("none", Way::Nowhere)] {
            let read = of(&[("EXPOSE", name)]).unwrap();
            assert_eq!((read.given, read.way(), way.name()), (Some(way), way, name));
        }
        let all = of(&[
            ("EXPOSE", "gateway"),
            ("EXPOSE_DOMAIN", "apps.harbour.test"),
            ("EXPOSE_INGRESS_CLASS", "edge"),
            ("EXPOSE_GATEWAY", "edge/outer/https"),
            ("EXPOSE_ANNOTATIONS", "harbour.test/a: \"1\"\nb: x\n"),
        ])
        .unwrap();
        let gateway = GatewayRef {
            namespace: "edge".to_owned(),
            name: "outer".to_owned(),
            section: Some("https".to_owned()),
        };
        let annotations = [("harbour.test/a", "1"), ("b", "x")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let expected = Exposure {
            given: Some(Way::Gateway),
            domain: Some("apps.harbour.test".to_owned()),
            ingress_class: Some("edge".to_owned()),
            gateway: Some(gateway),
            annotations: annotations.into(),
        };
        assert_eq!(all, expected);
        assert_eq!(of(&[("EXPOSE_GATEWAY", "a/b")]).unwrap().gateway.unwrap().section, None);
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_variable() {
        for (pairs, variable) in [
            (&[("EXPOSE", "Ingress")][..], "EXPOSE"),
            (&[("EXPOSE", "loadbalancer")], "EXPOSE"),
            (&[("EXPOSE", "gateway")], "EXPOSE_GATEWAY"),
            (&[("EXPOSE", "gateway"), ("EXPOSE_GATEWAY", "outer")], "EXPOSE_GATEWAY"),
            (&[("EXPOSE_GATEWAY", "a/b/c/d")], "EXPOSE_GATEWAY"),
            (&[("EXPOSE_GATEWAY", "a//c")], "EXPOSE_GATEWAY"),
            (&[("EXPOSE_GATEWAY", "a/B")], "EXPOSE_GATEWAY"),
            (&[("EXPOSE_DOMAIN", "*.example.com")], "EXPOSE_DOMAIN"),
            (&[("EXPOSE_DOMAIN", "Example.com")], "EXPOSE_DOMAIN"),
            (&[("EXPOSE_DOMAIN", "https://example.com")], "EXPOSE_DOMAIN"),
            (&[("EXPOSE_INGRESS_CLASS", "my class")], "EXPOSE_INGRESS_CLASS"),
            (&[("EXPOSE_ANNOTATIONS", "a")], "EXPOSE_ANNOTATIONS"),
            (&[("EXPOSE_ANNOTATIONS", "[a]")], "EXPOSE_ANNOTATIONS"),
            (&[("EXPOSE_ANNOTATIONS", "{a: true}")], "EXPOSE_ANNOTATIONS"),
            (&[("EXPOSE_ANNOTATIONS", "{a: {b: c}}")], "EXPOSE_ANNOTATIONS"),
            (&[("EXPOSE_ANNOTATIONS", "{a b: c}")], "EXPOSE_ANNOTATIONS"),
            (&[("EXPOSE_ANNOTATIONS", "{a: \"")], "EXPOSE_ANNOTATIONS"),
            (
                &[("EXPOSE_ANNOTATIONS", "{imageregistry.openshift.io: mine}")],
                "EXPOSE_ANNOTATIONS",
            ),
        ] {
            let error = of(pairs).unwrap_err();
            let (_, value) = pairs.last().unwrap();
            let told = if error.value.is_empty() { "" } else { value };
            let expected = format!("environment variable {variable} is {told:?}: ");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}
