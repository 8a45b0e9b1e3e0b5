//! How an API server with the CRDs treats objects. Acceptance statements are named at the rows that prove them.

use image_registry_operator::api::Kind;

/// The outcome for an object. Expected values are YAML; `~` is a missing (or null) field.
pub enum Outcome {
    /// Refused; the message contains this.
    Refused(&'static str),
    /// Stored, with these values at these JSON pointers.
    Reads(&'static [(&'static str, &'static str)]),
    /// Stored, but too large for our type; the operator must report it.
    Unreadable,
}
use Outcome::{Reads, Refused, Unreadable};

/// One object: kind, `spec` as YAML, outcome.
pub type Case = (Kind, &'static str, Outcome);

/// Our own kinds.
pub const CONFIGS_AND_PRUNERS: &[Case] = &[
    // api 1
    (
        Kind::Config,
        "{replicas: 1}",
        Reads(&[("/spec/logLevel", "Normal"), ("/spec/operatorLogLevel", "Normal")]),
    ),
    // api 2
    (
        Kind::Config,
        "{logLevel: Debug}",
        Refused("spec.replicas: Required value"),
    ),
    // api 3 (what is refused)
    (
        Kind::Config,
        "{replicas: 1, managementState: ''}",
        Refused("spec.managementState"),
    ),
    (
        Kind::Config,
        "{replicas: 1, managementState: Foo}",
        Refused("spec.managementState"),
    ),
    (
        Kind::Config,
        "{replicas: 1, managementState: Force}",
        Reads(&[("/spec/managementState", "Force")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, rolloutStrategy: ''}",
        Refused("spec.rolloutStrategy"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {managementState: ''}}",
        Refused("spec.storage.managementState"),
    ),
    // api 4
    (Kind::ImagePruner, "{}", Reads(&[("/spec/logLevel", "Normal")])),
    // api 5
    (
        Kind::Config,
        "{replicas: 1, storage: {s3: {chunkSizeMiB: 2}}}",
        Refused("greater than or equal to 5"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {s3: {chunkSizeMiB: 6000}}}",
        Refused("less than or equal to 5120"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {s3: {chunkSizeMiB: 19.5}}}",
        Refused("must be of type integer"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {s3: {chunkSizeMiB: 10}}}",
        Reads(&[("/spec/storage/s3/chunkSizeMiB", "10")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {s3: {}}}",
        Reads(&[("/spec/storage/s3", "{}")]),
    ),
    // api 6
    (
        Kind::Config,
        "{replicas: 1, storage: {azure: {networkAccess: {type: Internal, internal: {\
         networkResourceGroupName: .my.resource_group-name, vnetName: foo-bar, subnetName: bar_foo, \
         privateEndpointName: my-private-endpoint}}}}}",
        Reads(&[("/spec/storage/azure/networkAccess/internal/vnetName", "foo-bar")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {azure: {networkAccess: {type: Internal}}}}",
        Reads(&[("/spec/storage/azure/networkAccess", "{type: Internal}")]),
    ),
    // api 7
    (
        Kind::Config,
        "{replicas: 1, storage: {azure: {networkAccess: {type: Internal, internal: {vnetName: .invalid}}}}}",
        Refused("internal.vnetName"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {azure: {networkAccess: {type: Internal, internal: {subnetName: .invalid}}}}}",
        Refused("internal.subnetName"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {azure: {networkAccess: {type: Internal, internal: \
         {networkResourceGroupName: invalid.}}}}}",
        Refused("internal.networkResourceGroupName"),
    ),
    // api 8
    (
        Kind::Config,
        "{replicas: 1, storage: {azure: {networkAccess: {type: External, internal: {vnetName: foo}}}}}",
        Refused("internal is forbidden when type is not Internal"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {azure: {}}}",
        Reads(&[("/spec/storage/azure", "{networkAccess: {type: External}}")]),
    ),
    // api 10
    (
        Kind::Config,
        "{replicas: 1, storage: {oss: {encryption: {method: KMS}}}}",
        Refused("spec.storage.oss.encryption"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {oss: {encryption: {method: AES256, kms: {keyID: k}}}}}",
        Refused("spec.storage.oss.encryption"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {oss: {encryption: {method: KMS, kms: {keyID: k}}}}}",
        Reads(&[("/spec/storage/oss/encryption/kms/keyID", "k")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {oss: {encryption: {}}}}",
        Reads(&[(
            "/spec/storage/oss",
            "{endpointAccessibility: Internal, encryption: {method: AES256}}",
        )]),
    ),
    // Objects that the API server accepts and the operator must read.
    (
        Kind::Config,
        "{replicas: 1, observedConfig: null, unsupportedConfigOverrides: null}",
        Reads(&[(
            "/spec",
            "{replicas: 1, logLevel: Normal, operatorLogLevel: Normal, \
                  observedConfig: null, unsupportedConfigOverrides: null}",
        )]),
    ),
    (Kind::Config, "{replicas: -1}", Reads(&[("/spec/replicas", "-1")])),
    // The API server does not enforce the width of integers.
    (Kind::Config, "{replicas: 5000000000}", Unreadable),
    (Kind::Config, "{replicas: 2.0}", Reads(&[("/spec/replicas", "2")])),
    (
        Kind::Config,
        "{replicas: 1, logging: 5000000000}",
        Reads(&[("/spec/logging", "5000000000")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, logLevel: ''}",
        Reads(&[("/spec/logLevel", "''")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, resources: {limits: {cpu: 1}}}",
        Reads(&[("/spec/resources/limits/cpu", "1")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, resources: {limits: {cpu: one}}}",
        Refused("spec.resources.limits.cpu"),
    ),
    (
        Kind::Config,
        "{replicas: 1, requests: {read: {maxWaitInQueue: 1 day, maxRunning: -5000000000}}}",
        Reads(&[(
            "/spec/requests/read",
            "{maxWaitInQueue: 1 day, maxRunning: -5000000000}",
        )]),
    ),
    (
        Kind::Config,
        "{replicas: 1, requests: {read: {maxWaitInQueue: soon 5m}}}",
        Reads(&[("/spec/requests/read/maxWaitInQueue", "soon 5m")]),
    ),
    (
        Kind::Config,
        "{replicas: 1, requests: {read: {maxWaitInQueue: soon}}}",
        Refused("maxWaitInQueue"),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {emptyDir: {}, pvc: {}}, nodeSelector: {}, topologySpreadConstraints: []}",
        Reads(&[
            ("/spec/storage", "{emptyDir: {}, pvc: {}}"),
            ("/spec/nodeSelector", "{}"),
            ("/spec/topologySpreadConstraints", "[]"),
        ]),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {s3: {trustedCA: {name: ''}, cloudFront: {baseURL: u, keypairID: i, \
         privateKey: {key: k}}}}}",
        Reads(&[
            ("/spec/storage/s3/trustedCA", "{name: ''}"),
            ("/spec/storage/s3/cloudFront/privateKey", "{key: k, name: ''}"),
        ]),
    ),
    (
        Kind::Config,
        "{replicas: 1, storage: {ibmcos: {resourceKeyCRN: 'crn:v1:bluemix:public:iam::a:b::'}}}",
        Refused("spec.storage.ibmcos.resourceKeyCRN"),
    ),
    (
        Kind::Config,
        "{replicas: 1, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone}]}",
        Refused("whenUnsatisfiable: Required value"),
    ),
    (
        Kind::Config,
        "{replicas: 1, affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{}]}}}",
        Refused("topologyKey: Required value"),
    ),
    (
        Kind::Config,
        "{replicas: 1, routes: [{hostname: h}]}",
        Refused("spec.routes[0].name: Required value"),
    ),
    (
        Kind::Config,
        "{replicas: 1, unknown: 1}",
        Reads(&[("/spec/unknown", "~")]),
    ),
    (
        Kind::ImagePruner,
        "{keepYoungerThanDuration: 1 day}",
        Reads(&[("/spec/keepYoungerThanDuration", "1 day")]),
    ),
    (Kind::ImagePruner, "{logLevel: Loud}", Refused("spec.logLevel")),
];

/// The platform's kinds.
pub const PLATFORM: &[Case] = &[
    (Kind::ClusterOperator, "{}", Reads(&[("/spec", "{}"), ("/status", "~")])),
    (Kind::ClusterVersion, "{}", Refused("spec.clusterID: Required value")),
    (
        Kind::Image,
        "{additionalTrustedCA: {name: ''}}",
        Reads(&[("/spec/additionalTrustedCA/name", "''")]),
    ),
    (
        Kind::ApiServer,
        "{tlsSecurityProfile: {type: Intermediate, intermediate: null, old: null}}",
        Reads(&[("/spec/tlsSecurityProfile/type", "Intermediate")]),
    ),
    (
        Kind::Route,
        "{to: {name: image-registry}, tls: {termination: reencrypt}}",
        Reads(&[
            ("/spec/to", "{kind: Service, name: image-registry, weight: 100}"),
            ("/spec/wildcardPolicy", "None"),
        ]),
    ),
    (Kind::Route, "{host: h.example.com}", Refused("spec.to: Required value")),
    (
        Kind::Route,
        "{to: {name: r}, tls: {termination: reencrypt, certificate: c, externalCertificate: {name: s}}}",
        Refused("cannot have both spec.tls.certificate and spec.tls.externalCertificate"),
    ),
    (
        Kind::Route,
        "{to: {name: r}, tls: {}}",
        Refused("spec.tls.termination: Required value"),
    ),
];
