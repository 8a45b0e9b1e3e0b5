//! Random specs: `resolve` returns a result and never panics.

use super::*;

/// An xorshift64 generator with a fixed seed: every run tests the same cases.
struct Random(u64);

impl Random {
    /// A number from 0 to `bound` - 1.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
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
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => Value::from([i64::MIN, -1, 0, 1, i64::from(i32::MAX) + 1, i64::MAX][self.below(6)]),
            3 => Value::from([f64::MIN, -0.5, 1e300][self.below(3)]),
            4 | 5 => json!(self.text()),
            6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => self.object(depth - 1, KEYS),
        }
    }

    fn object(&mut self, depth: usize, keys: &[&str]) -> Value {
        (0..self.below(6))
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

/// A value for the field `member` that decodes more often than a random value.
fn likely_value(random: &mut Random, member: &str) -> Value {
    match member {
        "requests" => json!({random.pick(&["read", "write"]): {
            "maxRunning": ([-1, 0, 5][random.below(3)]), "maxWaitInQueue": random.text(),
        }}),
        "routes" => (0..random.below(4))
            .map(|_| json!({"name": random.text(), "hostname": random.text()}))
            .collect(),
        "proxy" | "storage" => json!({}),
        "logging" => json!(random.below(9)),
        "readOnly" | "defaultRoute" => json!(true),
        "nodeSelector" => json!({"a": random.text()}),
        "tolerations" | "topologySpreadConstraints" => json!([random.value(3)]),
        "unsupportedConfigOverrides" => json!({"deployment": random.object(3, KEYS)}),
        "observedConfig" => json!({"servingInfo": random.object(3, KEYS)}),
        "resources" | "affinity" => random.value(3),
        _ => json!(random.text()),
    }
}

#[test]
fn resolve_never_panics_and_accepts_only_values_in_range() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut accepted, mut rejected, mut undecodable) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut spec = json!({"replicas": ([-1, 0, 1, 1, 1, 2, i32::MAX][random.below(7)])});
        for _ in 0..random.below(8) {
            let member = random.pick(SPEC);
            let value = if random.below(8) == 0 {
                random.value(4)
            } else {
                likely_value(&mut random, member)
            };
            spec[member] = value;
        }
        let object = json!({"metadata": {"name": "cluster"}, "spec": spec,
                            "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config"});
        let Ok(config) = serde_json::from_value::<Config>(object) else {
            undecodable += 1;
            continue;
        };
        let empty = snapshot([]);
        let storage = config.spec.storage.clone().unwrap_or_default();
        let backend = select(&storage);
        assert_eq!(backend == Ok(None), storage.backends().is_empty());
        match resolve(&config, &empty) {
            Err(rejection) => {
                assert!(!rejection.message.is_empty());
                rejected += 1;
            }
            Ok(resolved) => {
                assert!(resolved.replicas >= 0);
                for limits in [resolved.read_limits, resolved.write_limits].into_iter().flatten() {
                    assert!(limits.max_running >= 0 && limits.max_in_queue >= 0);
                    assert!(limits.max_running > 0 || limits.max_in_queue > 0);
                }
                let names: BTreeSet<_> = resolved.routes.iter().map(|r| &r.name).collect();
                assert_eq!(names.len(), resolved.routes.len());
                assert_eq!(resolve(&config, &empty), Ok(resolved), "deterministic");
                accepted += 1;
            }
        }
    }
    assert!(
        accepted > 2_000 && rejected > 2_000 && undecodable > 500,
        "{accepted} {rejected} {undecodable}"
    );
}
