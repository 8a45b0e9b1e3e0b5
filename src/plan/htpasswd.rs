//! The file with the stock registry's users: `name:hash`, one per line. PURE.

use std::collections::BTreeMap;
use std::fmt;

use crate::names;

/// Why the registry must not get a file. No part of the file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line without a user's name or without a colon.
    NoUser(usize),
    /// A line whose hash is not bcrypt, the only one that the registry knows.
    NotBcrypt(usize),
    /// A second line of the same user: the registry would know only the last.
    Repeated {
        /// The line.
        line: usize,
        /// The first line of that user.
        first: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(line) => write!(f, "line {line} is not of the form name:hash"),
            Self::NotBcrypt(line) => write!(
                f,
                "line {line} has no bcrypt hash, the only kind that the registry knows: make the line with `htpasswd -B`"
            ),
            Self::Repeated { line, first } => write!(
                f,
                "line {line} has the user of line {first} again, and the registry would only know the last one: give each \
                 password a user of its own"
            ),
        }
    }
}

/// Users and their hashes with the number of the line, from 1. Blank lines and comments are none.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The first fault of a file.
pub fn check(text: &str) -> Result<(), Fault> {
    let mut users = BTreeMap::new();
    for (line, content) in lines(text) {
        let (user, hash) = content
            .split_once(':')
            .filter(|(user, _)| !user.is_empty())
            .ok_or(Fault::NoUser(line))?;
        if !is_bcrypt(hash) {
            return Err(Fault::NotBcrypt(line));
        }
        if let Some(first) = users.insert(user, line) {
            return Err(Fault::Repeated { line, first });
        }
    }
    Ok(())
}

/// `$2y$05$` and 53 characters: version, cost from 4 to 31, salt and digest.
fn is_bcrypt(hash: &str) -> bool {
    let mut parts = hash.split('$');
    let is_digest =
        |text: &str| text.len() == 53 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b));
    let cost = |text: &str| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|cost| (4..=31).contains(&cost))
    };
    parts.next() == Some("")
        && matches!(parts.next(), Some("2a" | "2b" | "2x" | "2y"))
        && parts.next().is_some_and(cost)
        && parts.next().is_some_and(is_digest)
        && parts.next().is_none()
}

/// The first name for a user that the file does not have: `registry`, `registry-2`, `registry-3`.
pub(super) fn free_user(text: &str) -> String {
    let taken = |name: &str| lines(text).any(|(_, line)| line.split(':').next() == Some(name));
    let numbered = (2..).map(|number: u64| format!("{}-{number}", names::LOGIN_USER));
    let mut candidates = std::iter::once(names::LOGIN_USER.to_owned()).chain(numbered);
    candidates.find(|name| !taken(name)).unwrap_or_default()
}

/// The file with one more line.
pub fn with_line(text: &str, user: &str, hash: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{text}{gap}{user}:{hash}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "926C3y10Quzn/LnqQH86VOEVh/18T6RnLaS.khre96jLNL/7e.K5W";

    // kubernetes 18
    #[test]
    fn everything_but_bcrypt_is_refused_with_the_number_of_the_line() {
        let good = |user: &str| format!("{user}:$2y$05${DIGEST}");
        let bcrypt = good("frodo");
        for version in ["2a", "2b", "2x", "2y"] {
            assert_eq!(check(&format!("a:${version}$10${DIGEST}")), Ok(()), "{version}");
        }
        for text in [
            String::new(),
            "\n# nobody\n".to_owned(),
            format!("# users\r\n{bcrypt}\r\n\r\n  {}  \n", good("sam")),
        ] {
            assert_eq!(check(&text), Ok(()), "{text}");
        }
        for (line, fault) in [
            ("bilbo:$apr1$7QyS2WpW$MX2nVVd9Cc3jGqOoZsJDr/", Fault::NotBcrypt(3)),
            ("bilbo:{SHA}5siv5c0SHx681xU6GiSx9ZQryqs=", Fault::NotBcrypt(3)),
            ("bilbo:rqXexS6ZhobKA", Fault::NotBcrypt(3)),
            ("bilbo:secret", Fault::NotBcrypt(3)),
            ("bilbo:", Fault::NotBcrypt(3)),
            (&format!("bilbo:$2y$03${DIGEST}"), Fault::NotBcrypt(3)),
            (&format!("bilbo:$2y$32${DIGEST}"), Fault::NotBcrypt(3)),
            (&format!("bilbo:$2y$+5${DIGEST}"), Fault::NotBcrypt(3)),
            (&format!("bilbo:$2y$05${DIGEST}x"), Fault::NotBcrypt(3)),
            (&format!("bilbo:$2y$05${}", &DIGEST[1..]), Fault::NotBcrypt(3)),
            (&format!("bilbo:$2y$05${DIGEST}:x"), Fault::NotBcrypt(3)),
            ("bilbo", Fault::NoUser(3)),
            (&format!(":$2y$05${DIGEST}"), Fault::NoUser(3)),
            (&bcrypt, Fault::Repeated { line: 3, first: 2 }),
        ] {
            let text = format!("# users\n{bcrypt}\n{line}\n{}\n", good("sam"));
            assert_eq!(check(&text), Err(fault), "{line}");
            assert!(fault.to_string().starts_with("line 3 "), "{fault}");
        }
        // No part of the file gets into a message.
        assert!(!check("bilbo:secret").unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn a_new_user_gets_a_free_name_and_a_line() {
        assert_eq!(free_user(""), "registry");
        assert_eq!(free_user("# registry:x\nregistry-2:x"), "registry");
        assert_eq!(free_user(" registry:x\nregistry-2:x"), "registry-3");
        assert_eq!(with_line("", "a", "h"), "a:h\n");
        assert_eq!(with_line("b:g", "a", "h"), "b:g\na:h\n");
        assert_eq!(with_line("b:g\n", "a", "h"), "b:g\na:h\n");
    }
}
