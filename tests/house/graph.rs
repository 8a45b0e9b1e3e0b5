//! Which file uses which: read from `use` declarations and from paths in the code. An item that a module re-exports counts as
//! an item of the file that defines it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::source::{Source, Token};

/// Segments of a path from the crate's root.
type Path = Vec<String>;

/// Arrows between files, each with the names that it carries and the line of each name.
#[derive(Default)]
pub struct Graph {
    arrows: BTreeMap<(String, String), Names>,
}

type Names = BTreeMap<String, usize>;

struct Module {
    file: String,
    path: Path,
    /// Names that `use` declarations bring in, for the file itself and for its children.
    imports: HashMap<String, Path>,
    uses: Vec<Import>,
    /// The code outside of `use` declarations.
    code: Vec<Token>,
}

struct Import {
    /// Empty for an item of another crate.
    path: Path,
    name: String,
    line: usize,
    /// Begins with another word than `crate`, `self` and `super`: a child, or another crate.
    relative: bool,
    /// A re-export: of use to this file only if the code names it.
    public: bool,
}

impl Graph {
    pub fn of(sources: &[Source]) -> Self {
        let sources = sources.iter().filter(|source| source.path != "main.rs");
        let mut modules = Modules(
            sources
                .map(Module::read)
                .map(|module| (module.path.clone(), module))
                .collect(),
        );
        modules.forget_other_crates();
        let mut graph = Self::default();
        for module in modules.0.values() {
            modules.arrows(module, &mut graph);
        }
        graph
    }

    pub fn arrows(&self) -> impl Iterator<Item = (&str, &str, &Names)> {
        self.arrows
            .iter()
            .map(|((from, to), names)| (from.as_str(), to.as_str(), names))
    }

    fn add(&mut self, from: &str, to: &str, name: &str, line: usize) {
        if from != to {
            let names = self.arrows.entry((from.to_owned(), to.to_owned())).or_default();
            names.entry(name.to_owned()).or_insert(line);
        }
    }

    /// Groups of files that reach each other.
    pub fn circles(&self) -> Vec<BTreeSet<String>> {
        let files: BTreeSet<&str> = self.arrows().flat_map(|(from, to, _)| [from, to]).collect();
        let reach: BTreeMap<&str, BTreeSet<&str>> = files.iter().map(|file| (*file, self.reachable(file))).collect();
        let mut circles = BTreeSet::new();
        for file in files {
            let circle: BTreeSet<String> = reach[file]
                .iter()
                .filter(|other| reach[**other].contains(file))
                .map(|other| (*other).to_owned())
                .collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn reachable<'a>(&'a self, start: &str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut left = vec![start.to_owned()];
        while let Some(file) = left.pop() {
            let after = self.arrows().filter(|(from, _, _)| *from == file);
            for (_, to, _) in after {
                if found.insert(to) {
                    left.push(to.to_owned());
                }
            }
        }
        found
    }

    /// The arrows within a circle, one a line.
    pub fn describe(&self, circle: &BTreeSet<String>) -> String {
        let within = self
            .arrows()
            .filter(|(from, to, _)| circle.contains(*from) && circle.contains(*to));
        let lines = within.map(|(from, to, names)| {
            let names: Vec<&str> = names.keys().map(String::as_str).collect();
            format!("  src/{from} -> src/{to}: {}", names.join(", "))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

struct Modules(HashMap<Path, Module>);

impl Modules {
    fn forget_other_crates(&mut self) {
        let known: BTreeSet<Path> = self.0.keys().cloned().collect();
        for module in self.0.values_mut() {
            for import in module.uses.iter_mut().filter(|import| import.relative) {
                if !known.contains(&import.path[..=module.path.len()]) {
                    import.path.clear();
                }
            }
            let named = module
                .uses
                .iter()
                .map(|import| (import.name.clone(), import.path.clone()));
            module.imports = named.collect();
        }
    }

    /// The module and the item that a path means, after re-exports. The item is empty where the path ends at a module.
    fn resolve(&self, path: &[String], depth: usize) -> Option<(&Module, String)> {
        path.first()?;
        let mut current = self.0.get(&Path::new())?;
        for (index, segment) in path.iter().enumerate() {
            let deeper: Path = current.path.iter().chain([segment]).cloned().collect();
            if let Some(child) = self.0.get(&deeper) {
                current = child;
                continue;
            }
            if let Some(target) = current.imports.get(segment).filter(|_| depth < 8) {
                let further: Path = target.iter().chain(&path[index + 1..]).cloned().collect();
                return self.resolve(&further, depth + 1);
            }
            return Some((current, segment.clone()));
        }
        Some((current, String::new()))
    }

    fn arrows(&self, module: &Module, graph: &mut Graph) {
        // Names that stand for a module: imported ones and children. What they are used for decides where an arrow goes.
        let mut aliases: HashMap<&str, Path> = HashMap::new();
        for child in self
            .0
            .values()
            .filter(|child| child.path.len() == module.path.len() + 1)
        {
            if child.path.starts_with(&module.path) {
                aliases.insert(child.path.last().unwrap(), child.path.clone());
            }
        }
        for import in &module.uses {
            match self.resolve(&import.path, 0) {
                Some((target, item)) if item.is_empty() => {
                    aliases.insert(&import.name, target.path.clone());
                }
                Some((target, item)) if !import.public || module.mentions(&import.name) => {
                    graph.add(&module.file, &target.file, &item, import.line);
                }
                _ => {}
            }
        }
        for (path, line) in module.paths() {
            let absolute = match path[0].as_str() {
                "crate" | "self" | "super" => absolute(&module.path, &path),
                first => aliases
                    .get(first)
                    .map(|alias| alias.iter().chain(&path[1..]).cloned().collect()),
            };
            let target = absolute.and_then(|path| self.resolve(&path, 0));
            if let Some((target, item)) = target.filter(|(_, item)| !item.is_empty()) {
                graph.add(&module.file, &target.file, &item, line);
            }
        }
    }
}

impl Module {
    fn read(source: &Source) -> Self {
        let path = module_path(&source.path);
        let tokens = source.tokens();
        let (mut uses, mut code) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < tokens.len() {
            // `use<'a>` names what a return type captures.
            if tokens[at].text != "use" || tokens.get(at + 1).is_some_and(|next| next.text == "<") {
                code.push(tokens[at].clone());
                at += 1;
                continue;
            }
            let public = code
                .last()
                .is_some_and(|before: &Token| before.text == "pub" || before.text == ")");
            let end = at
                + tokens[at..]
                    .iter()
                    .position(|token| token.text == ";")
                    .unwrap_or(tokens.len() - at - 1);
            let line = tokens[at].line;
            tree(&tokens[at + 1..end], &[], &mut |leaf, name| {
                let relative = !matches!(leaf[0].as_str(), "crate" | "self" | "super");
                uses.push(Import {
                    path: absolute(&path, &leaf).unwrap_or_default(),
                    name,
                    line,
                    relative,
                    public,
                });
            });
            at = end + 1;
        }
        Self {
            file: source.path.clone(),
            path,
            imports: HashMap::new(),
            uses,
            code,
        }
    }

    fn mentions(&self, name: &str) -> bool {
        self.code.iter().any(|token| token.text == name)
    }

    /// Paths of two or more segments in the code, and their lines.
    fn paths(&self) -> Vec<(Path, usize)> {
        let is_word = |token: &Token| token.text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let (code, mut found, mut at) = (&self.code, Vec::new(), 0);
        while at < code.len() {
            let mut path = Path::new();
            if is_word(&code[at]) && (at == 0 || code[at - 1].text != "::") {
                path.push(code[at].text.clone());
                while at + 2 < code.len() && code[at + 1].text == "::" && is_word(&code[at + 2]) {
                    at += 2;
                    path.push(code[at].text.clone());
                }
            }
            if path.len() > 1 {
                found.push((path, code[at].line));
            }
            at += 1;
        }
        found
    }
}

/// `a/b.rs` and `a/b/mod.rs` are module `a::b`; `lib.rs` is the root.
fn module_path(file: &str) -> Path {
    let name = file.trim_end_matches(".rs");
    let name = name.strip_suffix("/mod").unwrap_or(name);
    match name {
        "lib" => Path::new(),
        name => name.split('/').map(str::to_owned).collect(),
    }
}

/// A path from the root. A path that begins with another word than `crate`, `self` and `super` may name a child.
fn absolute(module: &[String], path: &[String]) -> Option<Path> {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (base, rest) = (Path::new(), &path[1..]),
        "self" => rest = &path[1..],
        _ => {}
    }
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    Some(base.into_iter().chain(rest.iter().cloned()).collect())
}

/// Calls `found` with the path and the name of each leaf of a `use` tree.
fn tree(tokens: &[Token], prefix: &[String], found: &mut impl FnMut(Path, String)) {
    for branch in branches(tokens) {
        let mut path = prefix.to_vec();
        let mut name = None;
        let mut at = 0;
        while at < branch.len() {
            match branch[at].text.as_str() {
                "::" => {}
                "{" => {
                    tree(&branch[at + 1..branch.len() - 1], &path, found);
                    path.clear();
                    break;
                }
                "as" => {
                    name = branch.get(at + 1).map(|token| token.text.clone());
                    break;
                }
                "self" if !path.is_empty() => {}
                segment => path.push(segment.to_owned()),
            }
            at += 1;
        }
        if let Some(last) = path.last().cloned() {
            found(path, name.unwrap_or(last));
        }
    }
}

/// The parts of a `use` tree between its outermost commas.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                found.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&tokens[start..]);
    found.retain(|branch: &&[Token]| !branch.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = [("lib.rs", "mod a; mod b;")]
            .iter()
            .chain(files)
            .map(|(path, code)| Source {
                path: (*path).to_owned(),
                code: (*code).to_owned(),
            })
            .collect();
        let graph = Graph::of(&sources);
        graph.arrows().map(|(from, to, _)| format!("{from} {to}")).collect()
    }

    #[test]
    fn a_re_exported_item_belongs_to_the_file_that_defines_it() {
        let files = [
            ("a/mod.rs", "mod x; mod y; pub use x::X;"),
            ("a/x.rs", "pub struct X;"),
            ("a/y.rs", "use super::X;"),
            ("b.rs", "use crate::a; fn f() -> a::X {}"),
        ];
        assert_eq!(graph(&files), ["a/y.rs a/x.rs", "b.rs a/x.rs"]);
    }

    #[test]
    fn a_parent_that_calls_a_child_which_uses_the_parent_is_a_circle() {
        let files = [
            ("a/mod.rs", "mod x; pub struct P; fn f() { x::go() }"),
            ("a/x.rs", "use super::{P, y::{self, Z as Q}}; pub fn go() {}"),
        ];
        assert_eq!(graph(&files), ["a/mod.rs a/x.rs", "a/x.rs a/mod.rs"]);
    }

    #[test]
    fn other_crates_are_no_files() {
        assert!(graph(&[("a/mod.rs", "use serde_json::{Value, json}; fn f() { std::fs::read(x) }")]).is_empty());
    }
}
