//! PURE: how long a token is valid, as a token service says it in `expires_in`.
//!
//! RFC 6749, 5.1: a number of seconds. Services also send it as a text or with a fraction.

use std::time::Duration;

use serde::Deserialize;

/// Longest lifetime that counts. A token that is said to live longer is renewed after this time; no time overflows.
const LONGEST: Duration = Duration::from_hours(24);

/// The value of `expires_in`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ExpiresIn {
    /// Seconds.
    Number(f64),
    /// Seconds, as a text.
    Text(String),
}

impl ExpiresIn {
    /// How long the token is valid, at most a day; `None` if the value is no number, or the token has expired already.
    pub fn lifetime(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.trim().parse().ok()?,
        };
        if seconds.is_nan() || seconds <= 0.0 {
            return None;
        }
        Some(Duration::try_from_secs_f64(seconds).map_or(LONGEST, |lifetime| lifetime.min(LONGEST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_of_any_size_and_form_is_understood_and_at_most_a_day() {
        for (json, seconds) in [
            ("3600", Some(3600.0)),
            ("3599.5", Some(3599.5)),
            ("\"3600\"", Some(3600.0)),
            ("\" 60 \"", Some(60.0)),
            ("86401", Some(86400.0)),
            ("18446744073709551615", Some(86400.0)),
            ("9223372036854775807", Some(86400.0)),
            ("1e300", Some(86400.0)),
            ("\"inf\"", Some(86400.0)),
            ("0", None),
            ("-1", None),
            ("-9223372036854775808", None),
            ("\"\"", None),
            ("\"NaN\"", None),
            ("\"an hour\"", None),
        ] {
            let value: ExpiresIn = serde_json::from_str(json).unwrap();
            assert_eq!(
                value.lifetime().map(|lifetime| lifetime.as_secs_f64()),
                seconds,
                "{json}"
            );
        }
        for json in ["{}", "[]", "true"] {
            assert!(serde_json::from_str::<ExpiresIn>(json).is_err(), "{json}");
        }
    }
}
