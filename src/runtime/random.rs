//! Random names, keys and jitter from the operating system.

use std::time::Duration;

/// `N` random bytes, not for keys. If the system has no randomness (which never happens on a booted Linux), the bytes come
/// from the clock, so that names still differ.
fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        let nanos = jiff::Timestamp::now().as_nanosecond().to_le_bytes();
        for (byte, nano) in bytes.iter_mut().zip(nanos) {
            *byte = nano;
        }
    }
    bytes
}

/// `N` random bytes as lower-case hex, usable as a key. `None` if the system has no randomness.
pub(crate) fn key_hex<const N: usize>() -> Option<String> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    let digit = |half: u8| char::from_digit(half.into(), 16);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}

/// A random UUID (version 4) in its usual text form.
pub(crate) fn uuid() -> String {
    let n = u128::from_be_bytes(bytes());
    let n = n & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{n:032x}");
    let (time_low, rest) = hex.split_at(8);
    let (time_mid, rest) = rest.split_at(4);
    let (time_high, rest) = rest.split_at(4);
    let (clock, node) = rest.split_at(4);
    format!("{time_low}-{time_mid}-{time_high}-{clock}-{node}")
}

/// A random duration from 0 to just under `limit`.
pub(crate) fn up_to(limit: Duration) -> Duration {
    limit.mul_f64(f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_usual_form_and_is_unique() {
        let id = uuid();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert_ne!(id, uuid());
    }

    #[test]
    fn jitter_stays_below_its_limit() {
        for _ in 0..1000 {
            assert!(up_to(Duration::from_secs(3)) < Duration::from_secs(3));
        }
        assert_eq!(up_to(Duration::ZERO), Duration::ZERO);
    }
}
