//! Google's discovery documents, as Google's own Python client carries them: whether what was sent is what they describe.

use super::Accepted;
use crate::{files, programs};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;

/// Documents by the first part of their methods' names.
const DOCUMENTS: [(&str, &str); 4] = [
    ("storage", "storage.v1.json"),
    ("cloudresourcemanager", "cloudresourcemanager.v3.json"),
    ("iamcredentials", "iamcredentials.v1.json"),
    ("sts", "sts.v1.json"),
];

/// The documents of the services that [`super::Gcs`] plays.
#[derive(Clone, Debug)]
pub struct Discovery(BTreeMap<&'static str, Value>);

impl Discovery {
    /// Installs Google's client, unless it is there, and reads its documents.
    pub async fn load() -> Result<Self> {
        let directory = programs::google_clients().await?.documents;
        let mut documents = BTreeMap::new();
        for (service, file) in DOCUMENTS {
            let text = files::read(&directory.join(file))?;
            documents.insert(service, serde_json::from_str(&text)?);
        }
        Ok(Self(documents))
    }

    /// An error for the first request whose parameters or body its document does not describe: an unknown name, another
    /// type, a value that is none of those listed.
    pub fn check(&self, accepted: &[Accepted]) -> Result<()> {
        accepted.iter().try_for_each(|request| self.check_one(request))
    }

    fn check_one(&self, request: &Accepted) -> Result<()> {
        let method = &request.method;
        let (service, _) = method.split_once('.').context("no service")?;
        let document = self
            .0
            .get(service)
            .with_context(|| format!("no document of {service}"))?;
        let described = find(&document["resources"], method).with_context(|| format!("no method {method}"))?;
        for name in &request.parameters {
            if described["parameters"].get(name).is_none() && document["parameters"].get(name).is_none() {
                bail!("{method} has no parameter {name}");
            }
        }
        let schemas = &document["schemas"];
        match (&request.body, described["request"].get("$ref").and_then(Value::as_str)) {
            (None, _) => Ok(()),
            (Some(body), Some(name)) => check_value(schemas, &schemas[name], body, method),
            (Some(_), None) => bail!("{method} has no body"),
        }
    }
}

/// A method by its ID, in any resource.
fn find<'a>(resources: &'a Value, id: &str) -> Option<&'a Value> {
    resources.as_object()?.values().find_map(|resource| {
        let methods = resource["methods"]
            .as_object()
            .into_iter()
            .flat_map(|methods| methods.values());
        let mut here = methods.filter(|method| method["id"] == id);
        here.next().or_else(|| find(&resource["resources"], id))
    })
}

/// `at` names the value in errors.
fn check_value(schemas: &Value, schema: &Value, value: &Value, at: &str) -> Result<()> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return check_value(schemas, &schemas[name], value, at);
    }
    match schema["type"].as_str() {
        Some("object") => check_object(schemas, schema, value, at),
        Some("array") => {
            let items = value.as_array().with_context(|| format!("{at} is no array"))?;
            let check = |(index, item)| check_value(schemas, &schema["items"], item, &format!("{at}[{index}]"));
            items.iter().enumerate().try_for_each(check)
        }
        Some("string") => {
            let text = value.as_str().with_context(|| format!("{at} is no text"))?;
            check_text(schema, text, at)
        }
        Some("boolean") if value.is_boolean() => Ok(()),
        Some("integer") if value.is_i64() || value.is_u64() => Ok(()),
        Some("number") if value.is_number() => Ok(()),
        Some("any") => Ok(()),
        kind => bail!("{at} is no {}", kind.unwrap_or("type that the document describes")),
    }
}

fn check_object(schemas: &Value, schema: &Value, value: &Value, at: &str) -> Result<()> {
    let fields = value.as_object().with_context(|| format!("{at} is no object"))?;
    for (name, value) in fields {
        let at = format!("{at}.{name}");
        let described = schema["properties"]
            .get(name)
            .or_else(|| schema.get("additionalProperties"));
        let described = described.with_context(|| format!("{at} is not described"))?;
        // A change takes a field away with null.
        if !value.is_null() {
            check_value(schemas, described, value, &at)?;
        }
    }
    Ok(())
}

fn check_text(schema: &Value, text: &str, at: &str) -> Result<()> {
    let whole = match schema["format"].as_str() {
        Some("int64") => text.parse::<i64>().is_ok(),
        Some("uint64") => text.parse::<u64>().is_ok(),
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
        Some("google-duration") => text.strip_suffix('s').is_some_and(|text| text.parse::<f64>().is_ok()),
        _ => true,
    };
    let listed = schema["enum"].as_array();
    if whole && listed.is_none_or(|listed| listed.iter().any(|value| value == text)) {
        Ok(())
    } else {
        bail!(
            "{at}: {text:?} is no {}",
            schema["format"].as_str().unwrap_or("value that is listed")
        )
    }
}
