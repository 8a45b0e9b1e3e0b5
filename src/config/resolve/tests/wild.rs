//! Specs that nobody would write: resolve answers, it never panics.

use super::*;

/// xorshift64: the same cases in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn text(&mut self) -> &'static str {
        self.pick(&[
            "",
            " ",
            "default-route",
            "a",
            "Managed",
            "Removed",
            "Debug",
            "RollingUpdate",
            "VersionTLS12",
            "µs",
            "-",
            "1µ",
            "+0",
            "99999999999999999999999h",
            ".s",
            "1..2s",
            "9223372036854775807ns",
            "5m",
            "\u{0}",
            "日本 5m",
            "-1h",
            "1 day",
            "TLS_AES_128_GCM_SHA256",
        ])
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.roll(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => Value::from([i64::MIN, -1, 0, 1, i64::from(i32::MAX) + 1, i64::MAX][self.roll(6)]),
            3 => Value::from([f64::MIN, -0.5, 1e300][self.roll(3)]),
            4 | 5 => json!(self.text()),
            6 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1, KEYS),
        }
    }

    fn object(&mut self, depth: usize, keys: &[&str]) -> Value {
        (0..self.roll(6))
            .map(|_| (self.pick(keys).to_owned(), self.value(depth)))
            .collect()
    }
}

const KEYS: &[&str] = &[
    "a",
    "name",
    "hostname",
    "secretName",
    "read",
    "write",
    "maxRunning",
    "maxInQueue",
    "maxWaitInQueue",
    "deployment",
    "annotations",
    "runtimeClassName",
    "servingInfo",
    "minTLSVersion",
    "cipherSuites",
    "http",
    "noProxy",
    "s3",
    "oss",
    "emptyDir",
    "pvc",
    "claim",
    "managementState",
    "release.openshift.io/version",
    "",
];

const SPEC: &[&str] = &[
    "managementState",
    "logLevel",
    "unsupportedConfigOverrides",
    "observedConfig",
    "httpSecret",
    "proxy",
    "storage",
    "readOnly",
    "requests",
    "defaultRoute",
    "routes",
    "logging",
    "resources",
    "nodeSelector",
    "tolerations",
    "rolloutStrategy",
    "affinity",
    "topologySpreadConstraints",
    "future",
];

/// A value that decodes more often than a wild one does.
fn likely(dice: &mut Dice, member: &str) -> Value {
    match member {
        "requests" => json!({dice.pick(&["read", "write"]): {
            "maxRunning": ([-1, 0, 5][dice.roll(3)]), "maxWaitInQueue": dice.text(),
        }}),
        "routes" => (0..dice.roll(4))
            .map(|_| json!({"name": dice.text(), "hostname": dice.text()}))
            .collect(),
        "proxy" | "storage" => json!({}),
        "logging" => json!(dice.roll(9)),
        "readOnly" | "defaultRoute" => json!(true),
        "nodeSelector" => json!({"a": dice.text()}),
        "tolerations" | "topologySpreadConstraints" => json!([dice.value(3)]),
        "unsupportedConfigOverrides" => json!({"deployment": dice.object(3, KEYS)}),
        "observedConfig" => json!({"servingInfo": dice.object(3, KEYS)}),
        "resources" | "affinity" => dice.value(3),
        _ => json!(dice.text()),
    }
}

#[test]
fn no_spec_makes_resolve_panic_and_what_it_takes_is_in_range() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let (mut taken, mut refused, mut undecodable) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut spec = json!({"replicas": ([-1, 0, 1, 1, 1, 2, i32::MAX][dice.roll(7)])});
        for _ in 0..dice.roll(8) {
            let member = dice.pick(SPEC);
            let value = if dice.roll(8) == 0 {
                dice.value(4)
            } else {
                likely(&mut dice, member)
            };
            spec[member] = value;
        }
        let object = json!({"metadata": {"name": "cluster"}, "spec": spec,
                            "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config"});
        let Ok(config) = serde_json::from_value::<Config>(object) else {
            undecodable += 1;
            continue;
        };
        let seen = snapshot([]);
        let storage = config.spec.storage.clone().unwrap_or_default();
        let backend = select(&storage);
        assert_eq!(
            backend == Ok(None),
            storage.backends().is_empty() && storage.oss.is_none()
        );
        match resolve(&config, &seen) {
            Err(rejection) => {
                assert!(!rejection.message.is_empty());
                refused += 1;
            }
            Ok(resolved) => {
                assert!(resolved.replicas >= 0);
                for limits in [resolved.read_limits, resolved.write_limits].into_iter().flatten() {
                    assert!(limits.max_running >= 0 && limits.max_in_queue >= 0);
                    assert!(limits.max_running > 0 || limits.max_in_queue > 0);
                }
                let names: BTreeSet<_> = resolved.routes.iter().map(|r| &r.name).collect();
                assert_eq!(names.len(), resolved.routes.len());
                assert_eq!(resolve(&config, &seen), Ok(resolved), "the same again");
                taken += 1;
            }
        }
    }
    assert!(
        taken > 2_000 && refused > 2_000 && undecodable > 500,
        "{taken} {refused} {undecodable}"
    );
}
