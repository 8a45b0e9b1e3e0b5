//! The CredentialsRequests.

use super::*;

// deploy 4
#[test]
fn credentials_requests_need_both_capabilities_and_name_one_secret() {
    let set = install_set();
    let requests: Vec<_> = set.iter().filter(|m| m.kind() == "CredentialsRequest").collect();
    assert_eq!(requests.len(), 6);
    for m in requests {
        assert_eq!(
            m.annotation("capability.openshift.io/name"),
            Some("ImageRegistry+CloudCredential"),
            "{}",
            m.file
        );
        assert_eq!(
            m.object["spec"]["secretRef"],
            json!({"namespace": HOME, "name": names::MINTED_SECRET}),
            "{}",
            m.file
        );
    }
}

/// Each of the words with `prefix` before it.
fn prefixed(prefix: &str, words: &str) -> Vec<String> {
    words.split_whitespace().map(|word| format!("{prefix}{word}")).collect()
}

fn assert_same_set(what: &str, found: &[&str], wanted: &[String]) {
    let as_set: BTreeSet<&str> = found.iter().copied().collect();
    assert_eq!(as_set.len(), found.len(), "{what}: something is there twice");
    assert_eq!(as_set, wanted.iter().map(String::as_str).collect(), "{what}");
}

// deploy 5
#[test]
fn credentials_requests_ask_for_exactly_these_rights() {
    let set = install_set();
    let spec = |name: &str| {
        let m = set
            .iter()
            .find(|m| m.kind() == "CredentialsRequest" && m.name() == name)
            .unwrap();
        &m.object["spec"]
    };
    let accounts = [OPERATOR, names::REGISTRY_SERVICE_ACCOUNT];

    let aws = spec("openshift-image-registry");
    assert_eq!(aws["providerSpec"]["kind"], "AWSProviderSpec");
    assert_eq!(strings(aws, "/serviceAccountNames"), accounts);
    let [statement] = list(aws, "/providerSpec/statementEntries") else {
        panic!("not one statement")
    };
    assert_eq!(
        (&statement["effect"], &statement["resource"]),
        (&json!("Allow"), &json!("*"))
    );
    // No more than the Go operator asks for (docs/decisions/0030): in passthrough mode the Cloud Credential Operator provides no
    // credentials if the root key lacks a single action.
    let actions = prefixed(
        "s3:",
        "CreateBucket DeleteBucket PutBucketTagging GetBucketTagging PutBucketPublicAccessBlock \
         GetBucketPublicAccessBlock PutEncryptionConfiguration GetEncryptionConfiguration PutLifecycleConfiguration \
         GetLifecycleConfiguration GetBucketLocation ListBucket GetObject PutObject DeleteObject \
         ListBucketMultipartUploads AbortMultipartUpload ListMultipartUploadParts",
    );
    assert_same_set("AWS", &strings(statement, "/action"), &actions);

    let azure = spec("openshift-image-registry-azure");
    assert_eq!(azure["providerSpec"]["kind"], "AzureProviderSpec");
    assert_eq!(strings(azure, "/serviceAccountNames"), accounts);
    let mut wanted = prefixed(
        "Microsoft.Storage/storageAccounts/",
        "blobServices/read blobServices/containers/read blobServices/containers/write blobServices/containers/delete \
         blobServices/generateUserDelegationKey/action read write delete listKeys/action \
         PrivateEndpointConnectionsApproval/action",
    );
    wanted.extend(prefixed("Microsoft.Resources/", "tags/write"));
    wanted.extend(prefixed(
        "Microsoft.Network/",
        "privateEndpoints/write privateEndpoints/read privateEndpoints/privateDnsZoneGroups/write \
         privateEndpoints/privateDnsZoneGroups/read privateDnsZones/read privateDnsZones/write \
         privateDnsZones/join/action privateDnsZones/A/write privateDnsZones/virtualNetworkLinks/write \
         privateDnsZones/virtualNetworkLinks/read networkInterfaces/read virtualNetworks/subnets/read \
         virtualNetworks/subnets/join/action virtualNetworks/join/action",
    ));
    // More than the Go operator asks for: finding the network, and removing a private endpoint with its names.
    wanted.extend(prefixed(
        "Microsoft.Network/",
        "virtualNetworks/read privateEndpoints/delete privateEndpoints/privateDnsZoneGroups/delete \
         privateDnsZones/A/read privateDnsZones/A/delete privateDnsZones/virtualNetworkLinks/delete \
         privateDnsZones/delete",
    ));
    // Nor does it look whether the account that it deletes holds data of others.
    wanted.extend(prefixed(
        "Microsoft.Storage/storageAccounts/",
        "fileServices/shares/read queueServices/queues/read tableServices/tables/read",
    ));
    assert_same_set("Azure", &strings(azure, "/providerSpec/permissions"), &wanted);
    let data = prefixed(
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/",
        "delete write read add/action move/action",
    );
    assert_same_set("Azure data", &strings(azure, "/providerSpec/dataPermissions"), &data);

    let gcs = spec("openshift-image-registry-gcs");
    assert_eq!(gcs["providerSpec"]["kind"], "GCPProviderSpec");
    assert_eq!(gcs["providerSpec"]["skipServiceCheck"], true);
    assert_eq!(strings(gcs, "/serviceAccountNames"), accounts);
    let mut wanted = prefixed(
        "storage.buckets.",
        "create delete get list createTagBinding listEffectiveTags",
    );
    wanted.extend(prefixed("storage.objects.", "create delete get list"));
    wanted.extend(prefixed(
        "resourcemanager.",
        "tagValueBindings.create tagValues.get tagValues.list",
    ));
    assert_same_set("GCP", &strings(gcs, "/providerSpec/permissions"), &wanted);

    for (name, kind) in [
        ("openshift-image-registry-ibmcos", "IBMCloudProviderSpec"),
        ("openshift-image-registry-ibmcos-powervs", "IBMCloudPowerVSProviderSpec"),
    ] {
        let ibm = spec(name);
        assert_eq!(ibm["providerSpec"]["kind"], kind);
        assert_eq!(ibm["serviceAccountNames"], Value::Null, "{name}");
        let [storage, group] = list(ibm, "/providerSpec/policies") else {
            panic!("{name}: not two policies")
        };
        assert_eq!(
            storage["attributes"],
            json!([{"name": "serviceName", "value": "cloud-object-storage"}])
        );
        let mut roles = prefixed(
            "crn:v1:bluemix:public:iam::::role:",
            "Viewer Operator Editor Administrator",
        );
        roles.extend(prefixed("crn:v1:bluemix:public:iam::::serviceRole:", "Reader Writer"));
        assert_same_set(name, &strings(storage, "/roles"), &roles);
        assert_eq!(
            group["attributes"],
            json!([{"name": "resourceType", "value": "resource-group"}])
        );
        assert_eq!(strings(group, "/roles"), ["crn:v1:bluemix:public:iam::::role:Viewer"]);
    }

    let openstack = spec("openshift-image-registry-openstack");
    assert_eq!(
        openstack["providerSpec"],
        json!({"apiVersion": "cloudcredential.openshift.io/v1", "kind": "OpenStackProviderSpec"})
    );
    assert_eq!(openstack["serviceAccountNames"], Value::Null);
}
