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
        let mut names: Vec<_> = names
            .filter(|name| Path::new(name).extension() == Some("md".as_ref()))
            .collect();
        names.sort();
        pages.extend(names.iter().map(|name| format!("{directory}/{name}")));
    }
    pages
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All blocks of a page, and its commands of `oc` within a text, in the order of the page.
pub fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let mut all = parse(page, &text);
    all.extend(inline(page, &text));
    all.sort_by_key(|block| block.line);
    all
}

/// A block is indented by four spaces or more, or fenced with ``` or ```sh. Other fences show no commands; ```output shows what
/// the block before it prints.
pub fn parse(page: &str, text: &str) -> Vec<Block> {
    let mut reader = Reader {
        page,
        was_blank: true,
        ..Reader::default()
    };
    for (index, line) in text.lines().enumerate() {
        reader.line(index + 1, line);
    }
    reader.found
}

#[derive(Default)]
struct Reader<'a> {
    page: &'a str,
    section: &'a str,
    /// Who runs the blocks of the section, if a comment says it.
    place: Option<Place>,
    /// What comments say about the next block.
    next: Block,
    /// Language, number of the first line and lines of a fence that is open.
    fence: Option<(&'a str, usize, Vec<&'a str>)>,
    /// The last block goes on, if the next line is indented.
    is_open: bool,
    was_blank: bool,
    found: Vec<Block>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, number: usize, line: &'a str) {
        let trimmed = line.trim();
        if let Some((language, first, mut lines)) = self.fence.take() {
            if trimmed == "```" {
                self.fenced(language, first, &lines);
            } else {
                lines.push(line);
                self.fence = Some((language, first, lines));
            }
            return;
        }
        let is_indented = line.starts_with("    ") && (self.is_open || self.was_blank);
        if let Some(language) = trimmed.strip_prefix("```") {
            self.is_open = false;
            self.fence = Some((language, number + 1, Vec::new()));
        } else if let Some(comment) = trimmed.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            assert!(self.marked(comment), "{}:{number}: unknown mark: {comment}", self.page);
            self.was_blank = true;
            return;
        } else if is_indented && self.is_open {
            let block = self.found.last_mut().unwrap();
            block.commands.push('\n');
            block.commands.push_str(line);
        } else if is_indented && !trimmed.is_empty() {
            self.begin(number, line);
            self.is_open = true;
        } else {
            self.is_open = false;
            self.prose(number, line);
        }
        self.was_blank = trimmed.is_empty();
        self.is_open &= !self.was_blank;
    }

    fn fenced(&mut self, language: &str, first: usize, lines: &[&str]) {
        let text = lines.join("\n");
        match language {
            "" | "sh" => self.begin(first, &text),
            "output" => self.found.last_mut().unwrap().output = Some(text.trim().to_owned()),
            _ => {}
        }
    }

    fn prose(&mut self, number: usize, line: &'a str) {
        let is_marked = self.next != Block::default();
        assert!(
            line.trim().is_empty() || !is_marked,
            "{}:{number}: a mark without a block",
            self.page
        );
        if line.starts_with('#') {
            self.section = line.trim_start_matches(['#', ' ']);
            self.place = None;
        }
    }

    fn begin(&mut self, line: usize, commands: &str) {
        let mut block = std::mem::take(&mut self.next);
        self.page.clone_into(&mut block.page);
        self.section.clone_into(&mut block.section);
        block.line = line;
        commands.clone_into(&mut block.commands);
        if let Some(place) = &self.place {
            block.place = place.clone();
        }
        // They read logs.
        if self.page.starts_with("docs/runbooks/") && self.section == "Diagnosis" {
            block.place = Place::EndToEnd;
        }
        self.found.push(block);
    }

    /// Applies a comment of the page to the block after it, or to the rest of the section. Whether the comment is known.
    fn marked(&mut self, comment: &str) -> bool {
        let Some((key, value)) = comment.split_once(": ") else {
            return false;
        };
        match key {
            "not run" => self.next.place = Place::Nowhere(value.to_owned()),
            "section not run" => self.place = Some(Place::Nowhere(value.to_owned())),
            "run in e2e" => self.next.place = Place::EndToEnd,
            "from" => self.next.from = Some(serde_json::from_str(value).unwrap()),
            _ => return false,
        }
        true
    }
}

/// Numbered lines that are not part of a block or a fence.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim().starts_with("```");
        is_fenced ^= is_fence;
        let is_prose = !is_fence && !is_fenced && !line.starts_with("    ");
        is_prose.then_some((index + 1, line))
    })
}

/// Commands of `oc` within the text of a page.
pub fn inline(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = prose(text);
    while let Some((number, line)) = lines.next() {
        let mut line = line.to_owned();
        // A command may go on in the next line.
        while line.matches('`').count() % 2 == 1 {
            let Some((_, more)) = lines.next() else { break };
            line = format!("{line} {}", more.trim());
        }
        let spans = line.split('`').skip(1).step_by(2);
        found.extend(spans.filter(|span| span.starts_with("oc ")).map(|span| Block {
            page: page.to_owned(),
            line: number,
            commands: span.to_owned(),
            place: place(span),
            ..Block::default()
        }));
    }
    found
}

/// Commands within a text that cannot run, and why.
pub const NOT_RUN: &[(&str, &str)] = &[
    ("oc adm prune images", "kubectl lacks `adm`"),
    ("oc adm prune images --confirm", "kubectl lacks `adm`"),
    ("oc adm inspect", "the name of a command, and kubectl lacks it"),
    ("oc image mirror", "the name of a command, and kubectl lacks it"),
    ("oc delete", "the name of a command"),
    (
        "oc get authentication cluster --output jsonpath={.spec.serviceAccountIssuer}",
        "the test cluster lacks the kind Authentication",
    ),
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

/// `kubectl` of the administrator of this cluster, as words of a shell.
pub async fn kubectl(cluster: &TestCluster) -> String {
    let programs = programs::ensure(programs::CLIENT).await.unwrap();
    let program = programs.path("kubectl").unwrap();
    let kubeconfig = cluster.devcluster.kubeconfig();
    format!("'{}' --kubeconfig '{}'", program.display(), kubeconfig.display())
}

/// Runs a script of bash in a directory.
pub async fn bash(directory: &Path, script: String) -> Output {
    let directory = directory.to_owned();
    let run = move || {
        Command::new("bash")
            .args(["-c", &script])
            .current_dir(directory)
            .output()
    };
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}

/// Runs commands with bash, with `oc` and `kubectl` on this cluster. They end at the first failure.
pub async fn run(cluster: &TestCluster, directory: &Path, commands: &str) -> Output {
    let kubectl = kubectl(cluster).await;
    // Two blocks of a page may create the same object, as alternatives.
    let oc = format!(
        "#!/bin/bash\nset -eo pipefail\nif [ \"$1\" = create ]; then\n\
         {kubectl} \"$@\" --dry-run=client -o yaml | {kubectl} delete --ignore-not-found -f - >&2\nfi\nexec {kubectl} \"$@\"\n"
    );
    let bin = tempfile::tempdir().unwrap();
    for name in ["oc", "kubectl"] {
        let path = bin.path().join(name);
        fs::write(&path, &oc).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut script = format!("set -euo pipefail\nPATH='{}':$PATH\n{commands}", bin.path().display());
    for (placeholder, value) in REPLACED {
        script = script.replace(placeholder, value);
    }
    bash(directory, script).await
}

/// Runs commands that must succeed. The error names their place.
pub async fn follow(cluster: &TestCluster, directory: &Path, place: &str, commands: &str) -> Result<(), String> {
    let output = run(cluster, directory, commands).await;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{place}: {}\n{commands}\n{error}", output.status))
}
