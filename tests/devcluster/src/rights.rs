//! Which rights of `deploy/02-rbac.yaml` and `deploy/kubernetes/02-rbac-exposure.yaml` the operator uses: what the audit logs of all clusters of a test run tell, beside the
//! rules.
//!
//! If the variable `DEVCLUSTER_AUDIT_LOGS` names a folder, each cluster that is removed leaves its audit log there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use crate::{apply, audit, files, layout::Layout, platform, teardown};

/// No request is about this resource: the platform's API server asks for the right when a Route with a host is written. The test
/// clusters serve Routes as a CRD, which does not ask.
const ASKED_BY_THE_PLATFORM: &str = "routes/custom-host";
/// Names the folder for audit logs.
const VARIABLE: &str = "DEVCLUSTER_AUDIT_LOGS";
const MANIFESTS: [&str; 2] = ["deploy/02-rbac.yaml", "deploy/kubernetes/02-rbac-exposure.yaml"];
const NAMESPACE: &str = "openshift-image-registry";
const NAME: &str = "cluster-image-registry-operator";
/// The comment of the manifest after which rules are held only to be granted.
const HELD_TO_BE_GRANTED: &str = "held only to be granted";

/// Keeps the audit log of a cluster that is being removed.
pub(crate) fn keep_audit_log(layout: &Layout) {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return;
    };
    let name = layout.root().file_name().unwrap_or_default().to_string_lossy();
    // There is none if the API server never started.
    let _ = std::fs::copy(layout.audit_log(), folder.join(format!("{name}.audit.log")));
}

/// A rule of the manifest.
#[derive(Debug)]
struct Rule {
    /// Where the role applies; empty: everywhere.
    namespace: String,
    policy: PolicyRule,
    reason: String,
    to_be_granted: bool,
    /// How many requests used the rule, by verb.
    used: BTreeMap<String, usize>,
}

impl Rule {
    fn permits(&self, event: &audit::Event) -> bool {
        let has = |values: &Option<Vec<String>>, value: &str| values.iter().flatten().any(|v| v == value);
        let resource = if event.subresource.is_empty() {
            event.resource.clone()
        } else {
            format!("{}/{}", event.resource, event.subresource)
        };
        let names = self.policy.resource_names.as_deref().unwrap_or_default();
        (self.namespace.is_empty() || self.namespace == event.namespace)
            && has(&self.policy.api_groups, &event.group)
            && has(&self.policy.resources, &resource)
            && self.policy.verbs.contains(&event.verb)
            && (names.is_empty() || names.contains(&event.name))
    }

    fn resources(&self) -> String {
        self.policy
            .resources
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What the operator did with its rights.
#[derive(Debug)]
pub struct Report {
    rules: Vec<Rule>,
    denied: Vec<String>,
    requests: usize,
}

impl Report {
    /// Reads the audit logs in a folder, and those of clusters whose processes ended without removing them.
    pub fn read(folder: &Path) -> Result<Self> {
        teardown::remove_leftovers()?;
        let mut report = Self {
            rules: shipped()?,
            denied: Vec::new(),
            requests: 0,
        };
        let mut logs: Vec<_> = std::fs::read_dir(folder)?.collect::<std::io::Result<_>>()?;
        logs.sort_by_key(std::fs::DirEntry::path);
        for entry in logs {
            report.add(&audit::Log::read_lines(&entry.path(), |line| line.contains(NAME))?);
        }
        Ok(report)
    }

    /// Counts the requests of the operator in the log of one cluster.
    fn add(&mut self, log: &audit::Log) {
        let removes = |event: &&audit::Event| {
            event.verb == "delete" && event.resource.ends_with("rolebindings") && event.name.ends_with(NAME)
        };
        let removed = log.events().iter().find(removes).map_or(i64::MAX, |event| event.time);
        let own = log.by_service_account(NAMESPACE, NAME);
        self.requests += own.len();
        // A test of the uninstallation takes the rights from an operator that still runs.
        let denied = own.filter(|event| event.is_denied() && !event.allowed && event.time < removed);
        self.denied.extend(denied.events().iter().map(ToString::to_string));
        let allowed = own.filter(|event| event.allowed);
        allowed.events().iter().for_each(|event| self.count(event));
    }

    fn count(&mut self, event: &audit::Event) {
        for rule in self.rules.iter_mut().filter(|rule| rule.permits(event)) {
            *rule.used.entry(event.verb.clone()).or_default() += 1;
        }
    }

    /// Requests for which the operator had no right.
    pub fn denied(&self) -> &[String] {
        &self.denied
    }

    /// Rules that no request used, but for those that are held only to be granted.
    pub fn unused(&self) -> Vec<String> {
        let own = self.rules.iter().filter(|rule| !rule.to_be_granted);
        let unused = own.filter(|rule| rule.used.is_empty()).map(Rule::resources);
        unused.filter(|resources| resources != ASKED_BY_THE_PLATFORM).collect()
    }

    /// A table in Markdown: each rule with its reason and the number of requests that used it.
    pub fn table(&self) -> String {
        let mut table =
            String::from("| where | resources | names | verbs, and requests | reason |\n|---|---|---|---|---|\n");
        for rule in &self.rules {
            let verbs = rule.policy.verbs.iter().map(|verb| match rule.used.get(verb) {
                Some(count) => format!("{verb} {count}"),
                None => format!("{verb} -"),
            });
            let place = if rule.namespace.is_empty() {
                "cluster"
            } else {
                &rule.namespace
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                table,
                "| {place} | {} | {} | {} | {} |",
                rule.resources(),
                rule.policy
                    .resource_names
                    .iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
                verbs.collect::<Vec<_>>().join(", "),
                rule.reason,
            );
        }
        table
    }

    /// Number of requests of the operator.
    pub fn requests(&self) -> usize {
        self.requests
    }
}

/// The rules of all manifests.
fn shipped() -> Result<Vec<Rule>> {
    let mut all = Vec::new();
    for manifest in MANIFESTS {
        all.extend(rules(&files::read(&platform::repository().join(manifest))?)?);
    }
    Ok(all)
}

/// The rules of a manifest, each with the comment above it.
fn rules(manifest: &str) -> Result<Vec<Rule>> {
    let mut reasons = reasons(manifest).into_iter();
    let mut rules = Vec::new();
    for role in apply::parse(manifest)? {
        for rule in role["rules"].as_array().into_iter().flatten() {
            let (reason, to_be_granted) = reasons.next().context("a rule without a comment")?;
            rules.push(Rule {
                namespace: role
                    .pointer("/metadata/namespace")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                policy: serde_json::from_value(rule.clone())?,
                reason,
                to_be_granted,
                used: BTreeMap::new(),
            });
        }
    }
    Ok(rules)
}

/// The comment above each rule, and whether the rule is held only to be granted.
fn reasons(manifest: &str) -> Vec<(String, bool)> {
    let (mut found, mut comment, mut to_be_granted) = (Vec::new(), Vec::new(), false);
    for line in manifest.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            if text.starts_with("---- ") && text.contains(HELD_TO_BE_GRANTED) {
                to_be_granted = true;
                continue;
            }
            comment.push(text);
            continue;
        }
        if line.starts_with("- apiGroups:") {
            found.push((comment.join(" "), to_be_granted));
        }
        // The end of a document ends the part of the ClusterRole.
        to_be_granted = to_be_granted && line != "---";
        comment.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "\
# About the file, with what is held only to be granted.
kind: ClusterRole
rules:
# Reads nodes.
- apiGroups: [\"\"]
  resources: [nodes]
  verbs: [get, list]

# ---- From here on: held only to be granted. ----

# registry: limits.
- apiGroups: [\"\"]
  resources: [limitranges]
  verbs: [list]
---
kind: Role
metadata: {namespace: quux}
rules:
# Writes
# its own map.
- apiGroups: [\"\"]
  resources: [configmaps/status]
  resourceNames: [grault]
  verbs: [patch]
";

    static NUMBER: AtomicUsize = AtomicUsize::new(0);

    /// A line of an audit log.
    fn event(verb: &str, resource: (&str, &str), namespace: &str, name: &str, code: u16) -> String {
        let object = json!({"resource": resource.0, "subresource": resource.1, "namespace": namespace, "name": name});
        let line = json!({
            "auditID": NUMBER.fetch_add(1, Ordering::Relaxed).to_string(),
            "requestURI": "/",
            "verb": verb,
            "user": {"username": format!("system:serviceaccount:{NAMESPACE}:{NAME}")},
            "objectRef": object,
            "responseStatus": {"code": code},
            "requestReceivedTimestamp": "2025-01-02T03:04:05Z",
            "stageTimestamp": "2025-01-02T03:04:05Z",
            "annotations": {"authorization.k8s.io/decision": if code == 403 { "forbid" } else { "allow" }},
        });
        format!("{line}\n")
    }

    #[test]
    fn a_request_counts_for_the_rules_that_permit_it() {
        let mut report = Report {
            rules: rules(MANIFEST).unwrap(),
            denied: Vec::new(),
            requests: 0,
        };
        let log = [
            event("list", ("nodes", ""), "", "", 200),
            event("list", ("nodes", ""), "", "", 200),
            event("patch", ("configmaps", "status"), "quux", "garply", 403),
            event("patch", ("configmaps", ""), "quux", "grault", 403),
        ];
        report.add(&audit::Log::of(&log.join("")).unwrap());
        assert_eq!(report.unused(), ["configmaps/status"]);
        assert_eq!(report.denied().len(), 2);
        let log = [
            event("patch", ("configmaps", "status"), "quux", "grault", 200),
            event(
                "delete",
                ("clusterrolebindings", ""),
                "",
                &format!("default-account-{NAME}"),
                200,
            ),
            event("list", ("nodes", ""), "", "", 403),
        ];
        report.add(&audit::Log::of(&log.join("")).unwrap());
        assert_eq!(report.unused(), Vec::<String>::new());
        assert_eq!(report.denied().len(), 2, "rights were taken away");
        let table = report.table();
        assert!(
            table.contains("| cluster | nodes |  | get -, list 2 | Reads nodes. |\n"),
            "{table}"
        );
        assert!(
            table.contains("| quux | configmaps/status | grault | patch 1 | Writes its own map. |\n"),
            "{table}"
        );
    }

    /// docs/rights.md lists the rules that deploy/ has. The numbers of requests are those of one run.
    #[test]
    fn the_page_about_rights_has_each_rule() {
        let report = Report {
            rules: shipped().unwrap(),
            denied: Vec::new(),
            requests: 0,
        };
        let without_numbers = |table: &str| -> Vec<String> {
            let is_count = |word: &str| {
                let number = word.trim_end_matches(',');
                number == "-" || number.parse::<usize>().is_ok()
            };
            let words = |line: &str| -> String {
                let kept = line.split(' ').filter(|word| !is_count(word));
                kept.map(|word| word.trim_end_matches(','))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            table.lines().filter(|line| line.starts_with("| ")).map(words).collect()
        };
        let page = files::read(&platform::repository().join("docs/rights.md")).unwrap();
        assert_eq!(
            without_numbers(&page),
            without_numbers(&report.table()),
            "run `make test`; target/rights.md is the table"
        );
    }
}
