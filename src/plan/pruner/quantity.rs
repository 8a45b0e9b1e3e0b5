//! Resource quantities. The API server normalizes quantities (`0.5` becomes `500m`), which must not count as an edit.

use serde_json::Value;

/// `resources`, with the spelling of `live` for each quantity that is equal to the live quantity.
pub(super) fn as_stored(mut resources: Value, live: Option<&Value>) -> Value {
    for section in ["requests", "limits"] {
        let Some(Value::Object(wanted)) = resources.get_mut(section) else {
            continue;
        };
        for (name, quantity) in wanted {
            let stored = live.and_then(|live| live.get(section)?.get(name));
            if let Some(stored) = stored.filter(|stored| amount(stored).is_some() && amount(stored) == amount(quantity))
            {
                *quantity = stored.clone();
            }
        }
    }
    resources
}

/// The quantity in thousandths, rounded up as the API server does with the resources of a pod template. `None` if the value is not a
/// quantity.
fn amount(quantity: &Value) -> Option<i128> {
    let text = match quantity {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let number_ends = text
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_ends);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, divisor) = unit(suffix)?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let dividend = digits.checked_mul(factor)?.checked_mul(1000)?;
    let divisor = divisor.checked_mul(scale)?;
    let is_rounded = dividend.checked_rem(divisor)? > 0;
    dividend.checked_div(divisor)?.checked_add(i128::from(is_rounded))
}

/// The unit of a suffix, as a factor and a divisor.
fn unit(suffix: &str) -> Option<(i128, i128)> {
    let power = |letters: &str, base: i128, letter: &str| {
        let exponent = u32::try_from(letters.find(letter)?).ok()? + 1;
        Some((base.checked_pow(exponent)?, 1))
    };
    match suffix {
        "" => Some((1, 1)),
        "m" | "u" | "n" => power("mun", 1000, suffix).map(|(power, one)| (one, power)),
        "k" | "M" | "G" | "T" | "P" | "E" => power("kMGTPE", 1000, suffix),
        "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => power("KMGTPE", 1024, suffix.trim_end_matches('i')),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{amount, as_stored};

    #[test]
    fn different_spellings_of_a_quantity_are_equal() {
        for (left, right) in [
            (json!("0.5"), json!("500m")),
            (json!(1), json!("1")),
            (json!("1024Mi"), json!("1Gi")),
            (json!("1e3"), json!("1k")),
            (json!("1e-1"), json!("100m")),
            (json!("100E-3"), json!("100m")),
            (json!("0.1Gi"), json!("107374182400m")),
            (json!("2000M"), json!("2G")),
            // The API server rounds the resources of a pod template up to thousandths.
            (json!("0.3333"), json!("334m")),
            (json!("500u"), json!("1m")),
            (json!("1n"), json!("1m")),
            (json!("1e-10"), json!("1m")),
            (json!("100000000000e-10"), json!("10")),
            (json!("0.3333Gi"), json!("357878149940m")),
            (json!(0.0005), json!("1m")),
            (json!("1000001u"), json!("1001m")),
        ] {
            assert_eq!(amount(&left), amount(&right), "{left} {right}");
            assert!(amount(&left).is_some());
        }
        assert_ne!(amount(&json!("1G")), amount(&json!("1Gi")));
        assert_ne!(amount(&json!("1001u")), amount(&json!("1m")));
        assert_ne!(amount(&json!("0.3333")), amount(&json!("333m")));
        assert_eq!(amount(&json!("soon")), None);
        let live = json!({"requests": {"cpu": "500m", "memory": "2Gi"}});
        let wanted = json!({"requests": {"cpu": "0.5", "memory": "1Gi"}, "limits": {"cpu": "1"}});
        let expected = json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"}});
        assert_eq!(as_stored(wanted, Some(&live)), expected);
    }
}
