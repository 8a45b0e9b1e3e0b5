//! Files and functions stay short.

use crate::source::{Source, Token, sources};

/// Most lines of code in a file, and in a function. Blank lines, comments and tests do not count.
const FILE: usize = 500;
const FUNCTION: usize = 60;

/// Functions that may be longer: file, function, reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = sources().into_iter().filter_map(|source| {
        let length = source.lines().count();
        (length > FILE).then(|| format!("src/{}: {length} lines of code", source.path))
    });
    super::assert_none(&long.collect::<Vec<_>>());
}

#[test]
fn no_function_is_longer_than_60_lines() {
    let mut breaches = Vec::new();
    let mut unused: Vec<_> = LONG_FUNCTIONS.iter().collect();
    for source in sources() {
        for (name, line, length) in functions(&source)
            .into_iter()
            .filter(|(_, _, length)| *length > FUNCTION)
        {
            let known = unused.len();
            unused.retain(|(file, function, _)| *file != source.path || *function != name);
            if unused.len() == known {
                breaches.push(format!("src/{}:{line}: fn {name} has {length} lines", source.path));
            }
        }
    }
    breaches.extend(
        unused
            .iter()
            .map(|(file, function, _)| format!("src/{file}: fn {function} is short: no exception")),
    );
    super::assert_none(&breaches);
}

/// Name, first line and lines of code of each function.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let (tokens, lines) = (
        source.tokens(),
        source.lines().map(|(number, _)| number).collect::<Vec<_>>(),
    );
    let mut found = Vec::new();
    for at in 0..tokens.len().saturating_sub(1) {
        let is_name = tokens[at + 1].text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if tokens[at].text != "fn" || !is_name {
            continue;
        }
        if let Some(last) = body_end(&tokens[at..]) {
            let (first, last) = (tokens[at].line, last.line);
            let length = lines.iter().filter(|line| (first..=last).contains(*line)).count();
            found.push((tokens[at + 1].text.clone(), first, length));
        }
    }
    found
}

/// The closing brace of a function; `None` where it has no body.
fn body_end(tokens: &[Token]) -> Option<&Token> {
    let (mut around, mut braces) = (0_i32, 0_i32);
    for token in tokens {
        match token.text.as_str() {
            "(" | "[" => around += 1,
            ")" | "]" => around -= 1,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces == 0 {
                    return Some(token);
                }
            }
            ";" if around == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}
