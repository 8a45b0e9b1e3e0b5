//! Reads the source: production code only, without comments, literals and test items.

use std::fs;
use std::path::{Path, PathBuf};

/// One file below `src`.
pub struct Source {
    /// Path below `src`, such as `runtime/leader/mod.rs`.
    pub path: String,
    /// Production code. Comments and test items are blank, literals are filled with `_`; line numbers are those of the file.
    pub code: String,
}

/// A word, a `::`, or one other character.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    /// The first folder, or the file itself: `runtime`, `names`, `lib`.
    pub fn room(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Whether the whole file is test code.
    fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| matches!(part, "tests" | "testing" | "conformance" | "tests.rs"))
    }

    /// Numbered lines that hold code.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.code.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim().is_empty())
    }

    pub fn tokens(&self) -> Vec<Token> {
        tokens(&self.code)
    }
}

/// All production files below `src`, sorted by path.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let read = |file: PathBuf| Source {
        path: file.strip_prefix(&root).unwrap().to_string_lossy().into_owned(),
        code: production(&fs::read_to_string(&file).unwrap()),
    };
    files.into_iter().map(read).filter(|source| !source.is_test()).collect()
}

/// A string literal of production code.
pub struct Literal {
    /// Path below `src`.
    pub path: String,
    /// The code before it; other literals in it are filled with `_`.
    pub before: String,
    pub text: String,
}

/// All string literals of production code in these rooms.
pub fn literals(rooms: &[&str]) -> Vec<Literal> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for source in sources().into_iter().filter(|source| rooms.contains(&source.room())) {
        let text: Vec<char> = fs::read_to_string(root.join(&source.path)).unwrap().chars().collect();
        let code: Vec<char> = source.code.chars().collect();
        let mut at = 0;
        while at < text.len() {
            // The code has `_` where the text has a literal, and nothing where the text has a comment or a test.
            let end = (text[at] == '"' && code[at] == '_')
                .then(|| literal_end(&text, at))
                .flatten();
            let Some(end) = end else {
                at += 1;
                continue;
            };
            found.push(Literal {
                path: source.path.clone(),
                before: code[at.saturating_sub(200)..at].iter().collect(),
                text: text[at + 1..end - 1].iter().collect(),
            });
            at = end;
        }
    }
    found
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The text without comments, contents of literals, and items under `#[cfg(test)]`.
pub fn production(text: &str) -> String {
    without_test_items(&blank(text))
}

/// Blanks comments and fills literals.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => comment_end(&chars, at),
            ('/', Some('*')) => block_comment_end(&chars, at),
            _ => literal_end(&chars, at).unwrap_or(at),
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let filler = if chars[at] == '/' { ' ' } else { '_' };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { filler }));
        at = end;
    }
    out
}

fn comment_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|c| *c == '\n')
        .map_or(chars.len(), |length| at + length)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    while end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) if depth == 1 => return end + 2,
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
    }
    end
}

/// End of the literal that begins here: a string, a raw string, a character. `None` if none begins.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let within_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '"' => Some(quoted_end(chars, at)),
        'b' if !within_word && chars.get(at + 1) == Some(&'"') => Some(quoted_end(chars, at + 1)),
        'r' | 'b' | 'c' if !within_word => {
            let mut open = at + 1 + usize::from(chars[at] != 'r' && chars.get(at + 1) == Some(&'r'));
            let hashes = chars[open..].iter().take_while(|c| **c == '#').count();
            open += hashes;
            if chars.get(open) != Some(&'"') {
                return None;
            }
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let length = chars[open + 1..]
                .windows(close.len())
                .position(|window| window == close)?;
            Some(open + 1 + length + close.len())
        }
        // A lifetime has no closing quote.
        '\'' if chars.get(at + 1) == Some(&'\\') => Some(at + 3 + chars[at + 3..].iter().position(|c| *c == '\'')? + 1),
        '\'' if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

fn quoted_end(chars: &[char], open: usize) -> usize {
    let mut end = open + 1;
    while end < chars.len() && chars[end] != '"' {
        end += 1 + usize::from(chars[end] == '\\');
    }
    end + 1
}

/// Blanks each item that stands under `#[cfg(test)]`, up to its `;` or its closing brace.
fn without_test_items(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        out.push_str(&rest[..start]);
        let item = &rest[start..];
        let end = item_end(item);
        out.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' | ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push(Token {
                text: rest[..length].to_owned(),
                line: index + 1,
            });
            rest = rest[length..].trim_start();
        }
    }
    found
}

#[test]
fn literals_comments_and_test_items_are_no_production_code() {
    let text = "fn a<'x>(s: &'x str) { let b = '{'; let c = \"} // no\"; } // crate::x\n/* { */\n#[cfg(test)]\nuse crate::y;\n\
                #[cfg(test)]\nmod tests {\n    fn z() {}\n}\nlet r = r#\"fn q() {\"#;\n";
    let code = production(text);
    assert_eq!(code.lines().count(), text.lines().count());
    for gone in ["crate", "no", "/*", "z()", "q()"] {
        assert!(!code.contains(gone), "{gone} is left:\n{code}");
    }
    assert!(code.contains("fn a<'x>(s: &'x str)"), "{code}");
    assert_eq!(code.matches('{').count(), code.matches('}').count(), "{code}");
}
