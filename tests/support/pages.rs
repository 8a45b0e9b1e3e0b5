//! The commands of README and `docs/`, as a reader would run them. How a page marks them is said in `docs/testing.md`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use devcluster::programs;
use serde_json::Value;

use super::TestCluster;

/// A block of commands on a page, up to the next empty line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Page, relative to the repository.
    pub page: String,
    /// Heading above the block.
    pub section: String,
    /// Number of its first line.
    pub line: usize,
    /// The commands.
    pub commands: String,
    /// Who runs it.
    pub place: Place,
    /// `spec` of the Config that the block starts from, in addition to emptyDir with one replica.
    pub from: Option<Value>,
    /// What its last command prints, if the page says it.
    pub output: Option<String>,
}

/// Who runs a block.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Place {
    /// `documentation`, with simulated nodes.
    #[default]
    Simulated,
    /// `e2e`, with real nodes: logs and shells in containers need a kubelet.
    EndToEnd,
    /// Nobody; the text is the reason.
    Nowhere(String),
}

/// Pages with commands for administrators, relative to the repository.
pub fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for directory in ["docs", "docs/runbooks"] {
        let files = fs::read_dir(repository().join(directory)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".md")).collect();
        names.sort();
        pages.extend(names.iter().map(|name| format!("{directory}/{name}")));
    }
    pages
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    parse(page, &fs::read_to_string(repository().join(page)).unwrap())
}

/// A block is indented by four spaces or more, or fenced with ``` or ```sh. Other fences show no commands; ```output shows what
/// the block before it prints.
pub fn parse(page: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut next = Block::default();
    let mut section = String::new();
    let mut is_open = false; // the last block goes on
    let mut was_blank = true;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let trimmed = line.trim();
        if let Some(language) = trimmed.strip_prefix("```") {
            let inside: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .collect();
            match language {
                "" | "sh" => {
                    let block = Block {
                        commands: inside.join("\n"),
                        ..began(page, &section, index + 2, &mut next)
                    };
                    found.push(block);
                }
                "output" => found.last_mut().unwrap().output = Some(inside.join("\n").trim().to_owned()),
                _ => {}
            }
            is_open = false;
        } else if let Some(comment) = trimmed.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            mark(comment.trim(), &mut next).unwrap_or_else(|| panic!("{page}:{}: unknown mark: {comment}", index + 1));
            was_blank = true;
            continue;
        } else if line.starts_with("    ") && !trimmed.is_empty() && (is_open || was_blank) {
            if is_open {
                let block = found.last_mut().unwrap();
                block.commands.push('\n');
                block.commands.push_str(line);
            } else {
                let block = Block {
                    commands: line.to_owned(),
                    ..began(page, &section, index + 1, &mut next)
                };
                found.push(block);
                is_open = true;
            }
        } else {
            is_open = false;
            if line.starts_with('#') {
                line.trim_start_matches(['#', ' ']).clone_into(&mut section);
            }
            assert!(
                trimmed.is_empty() || next == Block::default(),
                "{page}:{}: a mark without a block",
                index + 1
            );
        }
        was_blank = trimmed.is_empty();
    }
    found
}

fn began(page: &str, section: &str, line: usize, next: &mut Block) -> Block {
    let mut block = Block {
        page: page.to_owned(),
        section: section.to_owned(),
        line,
        ..std::mem::take(next)
    };
    // They read logs.
    if page.starts_with("docs/runbooks/") && section == "Diagnosis" {
        block.place = Place::EndToEnd;
    }
    block
}

/// Applies a comment of a page to the block after it. `None` if nobody knows the comment.
fn mark(comment: &str, next: &mut Block) -> Option<()> {
    let (key, value) = comment.split_once(": ")?;
    match key {
        "not run" => next.place = Place::Nowhere(value.to_owned()),
        "run in e2e" => next.place = Place::EndToEnd,
        "from" => next.from = Some(serde_json::from_str(value).ok()?),
        _ => return None,
    }
    Some(())
}

/// Commands of `oc` within the text of a page: `page:line`, the command, and who runs it.
pub fn inline(page: &str) -> Vec<(String, String, Place)> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with("    ")) {
        let spans = line.split('`').skip(1).step_by(2);
        let commands = spans.filter(|span| span.starts_with("oc "));
        found.extend(commands.map(|span| (format!("{page}:{}", index + 1), span.to_owned(), place(span))));
    }
    found
}

/// Commands within a text that cannot run, and why.
pub const NOT_RUN: &[(&str, &str)] = &[
    ("oc adm prune images", "kubectl lacks `adm`"),
    ("oc adm prune images --confirm", "kubectl lacks `adm`"),
    ("oc image mirror", "the name of a command, and kubectl lacks it"),
    ("oc delete", "the name of a command"),
    ("oc -n $NS set env $D ...", "the reader completes it"),
];

fn place(command: &str) -> Place {
    match NOT_RUN.iter().find(|(text, _)| *text == command) {
        Some((_, reason)) => Place::Nowhere((*reason).to_owned()),
        None if [" logs ", " exec "].iter().any(|verb| command.contains(verb)) => Place::EndToEnd,
        None => Place::Simulated,
    }
}

/// What a reader replaces, with a value of the tests. The last two lines would never end.
const REPLACED: &[(&str, &str)] = &[
    ("<your image>", "localhost/operator:new"),
    ("<location ID>", "s3.example.com/images"),
    (
        "INSTANCE_CRN",
        "crn:v1:bluemix:public:cloud-object-storage:global:a/1:instance::",
    ),
    (
        "KEY_CRN",
        "crn:v1:bluemix:public:cloud-object-storage:global:a/1:instance:resource-key:key",
    ),
    (" --follow", ""),
    (" --watch", ""),
];

/// Runs commands with bash, with `oc` as `kubectl` on this cluster. They end at the first failure.
pub async fn run(cluster: &TestCluster, directory: &Path, commands: &str) -> Output {
    let kubectl = programs::ensure(programs::CLIENT).await.unwrap();
    let kubectl = kubectl.path("kubectl").unwrap().display().to_string();
    let kubectl = format!(
        "'{kubectl}' --kubeconfig '{}'",
        cluster.devcluster.kubeconfig().display()
    );
    // Two blocks of a page may create the same object, as alternatives.
    let oc = format!(
        "#!/bin/bash\nset -eo pipefail\nif [ \"$1\" = create ]; then\n\
         {kubectl} \"$@\" --dry-run=client -o yaml | {kubectl} delete --ignore-not-found -f - >&2\nfi\nexec {kubectl} \"$@\"\n"
    );
    let bin = tempfile::tempdir().unwrap();
    fs::write(bin.path().join("oc"), oc).unwrap();
    fs::set_permissions(bin.path().join("oc"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = format!("set -euo pipefail\nPATH='{}':$PATH\n{commands}", bin.path().display());
    for (placeholder, value) in REPLACED {
        script = script.replace(placeholder, value);
    }
    let directory = directory.to_owned();
    let run = move || {
        Command::new("bash")
            .args(["-c", &script])
            .current_dir(directory)
            .output()
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}

/// Runs commands that must succeed; returns what they print.
pub async fn follow(cluster: &TestCluster, directory: &Path, place: &str, commands: &str) -> String {
    let output = run(cluster, directory, commands).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(
        output.status.success(),
        "{place}: {}\n{commands}\n{}",
        output.status,
        text(&output.stderr)
    );
    text(&output.stdout)
}
