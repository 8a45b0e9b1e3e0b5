//! `docs/configuration.md` has every field, and `docs/conditions.md` every reason, that the code has, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::source::literals;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Fields with a type of Kubernetes, whose documentation describes the members.
const OF_KUBERNETES: [&str; 5] = [
    "resources",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "nodeSelector",
];

/// Members of a schema, of a list the members of its items.
fn members(schema: &Value) -> Vec<(&String, &Value)> {
    let properties = schema.get("properties").or_else(|| schema.pointer("/items/properties"));
    properties.and_then(Value::as_object).into_iter().flatten().collect()
}

fn spec_of(crd: &str) -> Value {
    let crd: Value = serde_saphyr::from_str(&read(crd)).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .unwrap()
        .clone()
}

/// The text below a heading, up to the next heading of the same or a higher level.
fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let start = page.find(&format!("\n{heading}\n"))? + heading.len() + 2;
    let level = heading.split(' ').next()?.len();
    let ends = |line: &str| line.starts_with('#') && line.find(' ').is_some_and(|hashes| hashes <= level);
    let length: usize = page[start..]
        .split_inclusive('\n')
        .take_while(|line| !ends(line))
        .map(str::len)
        .sum();
    Some(&page[start..start + length])
}

// issue 16
#[test]
fn the_page_on_the_configuration_has_every_field_with_an_example() {
    let page = read("docs/configuration.md");
    let spec = spec_of("crds/00_configs.crd.yaml");
    let mut missing = Vec::new();
    let mut count = 0;
    for (field, schema) in members(&spec) {
        count += 1;
        let own = section(&page, &format!("### `{field}`")).unwrap_or_default();
        if !own.contains("\n    oc patch ") {
            missing.push(format!("an example of spec.{field}"));
        }
        if !page.contains(&format!("\n| [`{field}`](#{}) |", field.to_lowercase())) {
            missing.push(format!("spec.{field} in the table"));
        }
        for (member, _) in members(schema)
            .iter()
            .filter(|_| !OF_KUBERNETES.contains(&field.as_str()))
        {
            count += 1;
            let name = format!("{field}.{member}");
            if !quoted(own).any(|word| word == name) {
                missing.push(format!("spec.{name} below spec.{field}"));
            }
        }
    }
    let pruner = section(&page, "## Image pruner").unwrap();
    for (field, _) in members(&spec_of("crds/01_imagepruners.crd.yaml")) {
        count += 1;
        if !quoted(pruner).any(|word| word == field) {
            missing.push(format!("spec.{field} of the ImagePruner"));
        }
    }
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:#?}");
    assert!(count > 45, "{count}");
    // And names no field that does not exist.
    let known: BTreeSet<&String> = members(&spec).into_iter().map(|(field, _)| field).collect();
    for entry in page
        .lines()
        .filter_map(|line| line.strip_prefix("| [`")?.split_once('`'))
    {
        assert!(known.contains(&entry.0.to_owned()), "{} is no field", entry.0);
    }
}

/// Error codes of a service, which the operator passes on.
const OF_SERVICES: [&str; 5] = ["AccessDenied", "Forbidden", "403", "412", "NotImplemented"];
/// Reasons that no condition shows alone: the aggregate of a ClusterOperator joins them.
const JOINED: [&str; 1] = ["NodeCADaemonNoAvailableReplicas::Ready"];

/// Constants with a reason, outside of a module `reasons`.
const CONSTANTS: [&str; 8] = [
    "EXISTS",
    "PREFLIGHT_FAILED",
    "OVERRIDES_SET",
    "UNKNOWN_ERROR",
    "TAGS_DONE",
    "TAGS_FAILED",
    "TAGS_PENDING",
    "NOT_CREATED",
];

/// The reason of an event, which looks like the type of a condition.
const EVENT: &str = "StorageReconfigured";

/// Where the code names a reason: the text before the literal ends like this.
fn names_a_reason(path: &str, before: &str) -> bool {
    let before = before.trim_end();
    let is_argument = ["Status::True,", "Status::False,", "Status::Unknown,"]
        .iter()
        .any(|status| before.ends_with(status));
    let is_term = [
        "exists:",
        "brought:",
        "created:",
        "not_visible:",
        "name_taken:",
        "deleted:",
        "no_login:",
        "unknown:",
    ]
    .iter()
    .any(|term| before.ends_with(term));
    let last_line = before.lines().last().unwrap_or_default().trim();
    let is_constant = last_line.contains("const ") && last_line.ends_with('=');
    let is_setting = before.ends_with(',')
        && before
            .rsplit_once("setting(")
            .is_some_and(|(_, arguments)| arguments.matches(',').count() == 1);
    let is_named = |name: &&str| last_line.contains(&format!("const {name}:"));
    is_argument
        || before.ends_with("declined(")
        || (is_constant && CONSTANTS.iter().any(is_named))
        || is_setting
        || (is_term && path.starts_with("storage/backend/"))
        || (is_constant && path.ends_with("/reasons.rs"))
        || (path == "config/rejection.rs" && before.ends_with("=>"))
}

/// Reasons in the tables of the page: the columns with the heading `reason`, or with a status.
fn documented(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut columns: Vec<usize> = Vec::new();
    for line in page.lines() {
        let Some(row) = line.strip_prefix('|') else {
            columns.clear();
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if columns.is_empty() {
            let is_reason = |cell: &str| ["reason", "True", "False"].contains(&cell);
            columns = (0..cells.len()).filter(|index| is_reason(cells[*index])).collect();
            if columns.is_empty() {
                columns.push(usize::MAX); // a table without reasons
            }
            continue;
        }
        for cell in columns.iter().filter_map(|index| cells.get(*index)) {
            found.extend(quoted(cell).map(|reason| reason.replace('<', "{").replace('>', "}")));
        }
    }
    found
}

// issue 16
#[test]
fn the_page_on_conditions_has_every_reason_of_the_code_and_no_other() {
    let page = read("docs/conditions.md");
    let on_the_page = documented(&page);
    let literals = literals(&["config", "status", "controllers", "storage"]);
    let named = literals
        .iter()
        .filter(|l| !l.text.is_empty() && names_a_reason(&l.path, &l.before));
    let in_the_code: BTreeSet<String> = named.map(|literal| literal.text.clone()).collect();
    let everywhere: BTreeSet<&String> = literals.iter().map(|literal| &literal.text).collect();
    let missing: Vec<_> = in_the_code
        .iter()
        .filter(|reason| !on_the_page.contains(*reason))
        .collect();
    assert!(missing.is_empty(), "docs/conditions.md lacks {missing:#?}");
    let unknown: Vec<_> = on_the_page
        .iter()
        .filter(|reason| {
            !everywhere.contains(*reason)
                && !OF_SERVICES.contains(&reason.as_str())
                && !JOINED.contains(&reason.as_str())
        })
        .collect();
    assert!(
        unknown.is_empty(),
        "docs/conditions.md has reasons that no code reports: {unknown:#?}"
    );
    assert!(in_the_code.len() > 70, "{}", in_the_code.len());
    // Types are constants, because several places name them.
    let is_type = |text: &str| {
        let ends = ["Degraded", "Available", "Progressing"]
            .iter()
            .any(|end| text.ends_with(end));
        let is_word = text.starts_with(char::is_uppercase) && text.chars().all(char::is_alphanumeric);
        is_word && (ends || text.starts_with("Storage")) && text != EVENT
    };
    let types = literals
        .iter()
        .filter(|l| l.before.trim_end().ends_with(": &str =") && is_type(&l.text));
    let types: BTreeSet<&str> = types.map(|literal| literal.text.as_str()).collect();
    assert!(types.len() > 8, "{types:?}");
    let unknown: Vec<_> = types
        .into_iter()
        .filter(|type_| !quoted(&page).any(|word| word == *type_))
        .collect();
    assert!(unknown.is_empty(), "docs/conditions.md lacks the types {unknown:#?}");
}

/// Pages of the repository, relative to its root.
fn all_pages() -> Vec<String> {
    let mut pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
        .map(str::to_owned)
        .to_vec();
    for directory in ["docs", "docs/decisions", "docs/runbooks"] {
        let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        pages.extend(
            names
                .filter(|name| Path::new(name).extension() == Some("md".as_ref()))
                .map(|name| format!("{directory}/{name}")),
        );
    }
    pages
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || ['-', '_', ' '].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_pages_lead_somewhere_and_every_page_is_linked() {
    let pages = all_pages();
    let mut linked = BTreeSet::new();
    for page in &pages {
        let text = read(page);
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target);
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(page).parent().unwrap();
            let path = if path.is_empty() {
                page.clone()
            } else {
                folder.join(path).to_string_lossy().into_owned()
            };
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
            assert!(file.exists(), "{page} links to {target}, which does not exist");
            let headings = || {
                read(&path)
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(anchor)
                    .collect::<Vec<_>>()
            };
            assert!(
                fragment.is_empty() || headings().contains(&fragment.to_owned()),
                "{page} links to {target}"
            );
            linked.insert(path);
        }
    }
    // The README links to folders.
    let of_docs = pages
        .iter()
        .filter(|page| page.starts_with("docs/") && !page.contains("/runbooks/") && !page.ends_with("/README.md"));
    for page in of_docs {
        let is_linked = linked
            .iter()
            .any(|link| link == page || link.ends_with(&page["docs".len()..]));
        assert!(is_linked, "no page links to {page}");
    }
}
