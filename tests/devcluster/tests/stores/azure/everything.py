"""Drives the stand-in with Microsoft's own clients: TENANT CLIENT-ID SECRET SUBSCRIPTION GROUP NETWORK. Ends with 0 if all is as Azure has it."""

import datetime
import sys

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.privatedns import PrivateDnsManagementClient
from azure.mgmt.storage import StorageManagementClient
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    BlobClient,
    BlobSasPermissions,
    generate_blob_sas,
)

TENANT, CLIENT, SECRET, SUBSCRIPTION, GROUP, NETWORK = sys.argv[1:]
NAME, ZONE, LOCATION = "imageregistrypython1", "privatelink.blob.core.windows.net", "westeurope"
TAGS = {"kubernetes.io_cluster.demo-x7k2p": "owned", "team": "registry"}
BASE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
ACCOUNT = f"{BASE}/Microsoft.Storage/storageAccounts/{NAME}"


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r} is not {expected!r}")


def refused(call, status, code):
    try:
        call()
    except HttpResponseError as error:
        found = getattr(error, "error_code", None) or (error.error.code if error.error else None)
        equal((error.status_code, found), (status, code))
        return
    raise AssertionError(f"no {status} {code}")


def fast(client, api_version=None):
    more = {"api_version": api_version} if api_version else {}
    return client(CREDENTIAL, SUBSCRIPTION, polling_interval=0, retry_total=0, **more)


def accounts(storage):
    ops = storage.storage_accounts
    name = {"name": NAME, "type": "Microsoft.Storage/storageAccounts"}
    equal(ops.check_name_availability(name).name_available, True)
    wrong = ops.check_name_availability({**name, "name": "Not_A_Name"})
    equal((wrong.name_available, wrong.reason), (False, "AccountNameInvalid"))
    body = {
        "kind": "StorageV2",
        "location": LOCATION,
        "sku": {"name": "Standard_LRS"},
        "tags": TAGS,
        "properties": {
            "supportsHttpsTrafficOnly": True,
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
        },
    }
    poller = ops.begin_create(GROUP, NAME, body)
    equal(ops.check_name_availability(name).reason, "AlreadyExists")
    made = poller.result()
    equal((made.id, made.provisioning_state, made.location, made.tags), (ACCOUNT, "Succeeded", LOCATION, TAGS))
    equal((made.minimum_tls_version, made.allow_blob_public_access, made.allow_shared_key_access), ("TLS1_2", False, None))
    equal(made.primary_endpoints.blob, f"https://{NAME}.blob.core.windows.net/")
    # Again with the same: at once.
    equal(ops.begin_create(GROUP, NAME, body).result().id, ACCOUNT)
    refused(lambda: ops.begin_create(GROUP, NAME, {**body, "location": "northeurope"}), 409, "InvalidResourceLocation")
    refused(lambda: ops.get_properties(GROUP, "nobodyhasit"), 404, "ResourceNotFound")
    refused(lambda: ops.get_properties("no-group", NAME), 404, "ResourceGroupNotFound")
    equal([one.name for one in ops.list_by_resource_group(GROUP)], [NAME])
    equal([one.name for one in ops.list()], [NAME])
    changed = ops.update(GROUP, NAME, {"tags": {**TAGS, "more": "yes"}})
    equal((changed.tags["more"], changed.minimum_tls_version), ("yes", "TLS1_2"))
    keys = ops.list_keys(GROUP, NAME).keys_property
    equal([(key.key_name, str(key.permissions).lower().endswith("full")) for key in keys], [("key1", True), ("key2", True)])
    again = ops.regenerate_key(GROUP, NAME, {"keyName": "key1"}).keys_property
    equal((again[0].value == keys[0].value, again[1].value == keys[1].value), (False, True))
    service = storage.blob_services.get_service_properties(GROUP, NAME)
    equal(service.name, "default")
    return again[0].value, keys[0].value


def containers(storage):
    ops = storage.blob_containers
    ops.create(GROUP, NAME, "by-manager", {"properties": {"metadata": {"owner": "manager"}}})
    found = ops.get(GROUP, NAME, "by-manager")
    equal((found.name, found.metadata), ("by-manager", {"owner": "manager"}))
    for number in range(4):
        ops.create(GROUP, NAME, f"more-{number}", {})
    equal(len(list(ops.list(GROUP, NAME))), 5)
    refused(lambda: ops.get(GROUP, NAME, "none"), 404, "ContainerNotFound")
    for number in range(4):
        ops.delete(GROUP, NAME, f"more-{number}")
    ops.delete(GROUP, NAME, "none")
    ops.delete(GROUP, NAME, "by-manager")
    equal(list(ops.list(GROUP, NAME)), [])


def blobs(credential, key):
    url = f"https://{NAME}.blob.core.windows.net"
    service = BlobServiceClient(url, credential=credential, retry_total=0)
    container = service.get_container_client("registry")
    try:
        container.get_container_properties()
        raise AssertionError("there is no container")
    except ResourceNotFoundError as error:
        equal(error.error_code, "ContainerNotFound")
    container.create_container(metadata={"Owner_Of": "demo-x7k2p", "b": "1", "a_a": "2"})
    try:
        container.create_container()
        raise AssertionError("a container was made twice")
    except ResourceExistsError as error:
        equal(error.error_code, "ContainerAlreadyExists")
    properties = container.get_container_properties()
    equal({name.lower(): value for name, value in properties.metadata.items()}, {"owner_of": "demo-x7k2p", "b": "1", "a_a": "2"})
    container.set_container_metadata({"owner": "other"})
    equal(container.get_container_properties().metadata, {"owner": "other"})
    equal([one.name for one in service.list_containers()], ["registry"])

    name = "/docker/registry v2/a#b?c/über+x"
    blob = container.get_blob_client(name)
    blob.upload_blob(b"simple", metadata={"x": "y"})
    equal(blob.download_blob().readall(), b"simple")
    equal(blob.download_blob(offset=1, length=2).readall(), b"im")
    equal((blob.get_blob_properties().size, blob.get_blob_properties().metadata), (6, {"x": "y"}))
    staged = container.get_blob_client("staged")
    staged.stage_block("AAAA", b"one")
    staged.stage_block("BBBB", b"two")
    staged.commit_block_list(["AAAA", "BBBB"])
    equal(staged.download_blob().readall(), b"onetwo")
    appended = container.get_blob_client("appended")
    appended.create_append_blob()
    appended.append_block(b"first")
    appended.append_block(b"second")
    equal(appended.download_blob().readall(), b"firstsecond")
    copy = container.get_blob_client("copy")
    equal(copy.start_copy_from_url(staged.url)["copy_status"], "success")
    equal(copy.download_blob().readall(), b"onetwo")
    equal("azurite" in (copy.get_blob_properties().copy.source or ""), False)
    listed = [one.name for one in container.list_blobs(results_per_page=2)]
    equal(listed, sorted([name, "appended", "copy", "staged"]))
    equal([one.name for one in container.list_blobs(name_starts_with="/docker/")], [name])
    copy.delete_blob()
    try:
        copy.delete_blob()
        raise AssertionError("a blob was deleted twice")
    except ResourceNotFoundError as error:
        equal(error.error_code, "BlobNotFound")

    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)
    if key:
        more = {"account_key": key}
    else:
        begin = end - datetime.timedelta(minutes=10)
        more = {"user_delegation_key": service.get_user_delegation_key(begin, end)}
    read = BlobSasPermissions(read=True)
    sas = generate_blob_sas(NAME, "registry", name, permission=read, expiry=end, **more)
    signed = BlobClient(url, "registry", name, credential=sas, retry_total=0)
    equal(signed.download_blob().readall(), b"simple")
    refused(signed.delete_blob, 403, "AuthorizationPermissionMismatch")
    other = BlobClient(url, "registry", "staged", credential=sas, retry_total=0)
    refused(lambda: other.download_blob().readall(), 403, "AuthenticationFailed")
    container.delete_container()
    equal(list(service.list_containers()), [])


def networks(network, dns, storage):
    equal([one.name for one in network.virtual_networks.list(GROUP)], ["demo-vnet"])
    subnets = {one.name: one.id for one in network.subnets.list(GROUP, "demo-vnet")}
    equal(sorted(subnets), ["demo-subnet", "functions"])
    connection = {"name": "pe", "properties": {"privateLinkServiceId": ACCOUNT, "groupIds": ["blob"]}}
    body = {
        "location": LOCATION,
        "tags": TAGS,
        "properties": {
            "customNetworkInterfaceName": "pe-nic",
            "subnet": {"id": subnets["demo-subnet"]},
            "privateLinkServiceConnections": [connection],
        },
    }
    endpoint = network.private_endpoints.begin_create_or_update(GROUP, "pe", body).result()
    equal((endpoint.provisioning_state, endpoint.tags, endpoint.location), ("Succeeded", TAGS, LOCATION))
    state = endpoint.private_link_service_connections[0].private_link_service_connection_state
    equal(state.status, "Approved")
    interface = network.network_interfaces.get(GROUP, endpoint.network_interfaces[0].id.split("/")[-1])
    equal(interface.name, "pe-nic")
    address = interface.ip_configurations[0].private_ip_address
    equal(address, "10.0.1.4")
    equal(len(storage.storage_accounts.get_properties(GROUP, NAME).private_endpoint_connections), 1)
    elsewhere = {**body, "location": "northeurope"}
    refused(lambda: network.private_endpoints.begin_create_or_update(GROUP, "far", elsewhere), 400, "InvalidResourceReference")

    zone = dns.private_zones.begin_create_or_update(GROUP, ZONE, {"location": "global", "tags": TAGS}).result()
    equal((zone.name, zone.tags, zone.number_of_virtual_network_links), (ZONE, TAGS, 0))
    record = {"properties": {"ttl": 10, "aRecords": [{"ipv4Address": address}]}}
    made = dns.record_sets.create_or_update(GROUP, ZONE, "A", NAME, record)
    equal((made.fqdn, made.a_records[0].ipv4_address, made.ttl), (f"{NAME}.{ZONE}.", address, 10))
    config = {"name": "config", "properties": {"privateDnsZoneId": zone.id}}
    group = {"name": f"{ZONE}/default", "properties": {"privateDnsZoneConfigs": [config]}}
    dashed = ZONE.replace(".", "-")
    done = network.private_dns_zone_groups.begin_create_or_update(GROUP, "pe", dashed, group).result()
    equal(done.provisioning_state, "Succeeded")
    link = {"location": "global", "tags": TAGS, "properties": {"registrationEnabled": False, "virtualNetwork": {"id": NETWORK}}}
    linked = dns.virtual_network_links.begin_create_or_update(GROUP, ZONE, NAME, link).result()
    equal((linked.provisioning_state, linked.virtual_network.id), ("Succeeded", NETWORK))
    equal([one.name for one in dns.virtual_network_links.list(GROUP, ZONE)], [NAME])
    equal([one.name for one in dns.private_zones.list()], [ZONE])
    equal([one.name for one in dns.record_sets.list_by_type(GROUP, ZONE, "A")], [NAME])
    refused(lambda: dns.private_zones.begin_delete(GROUP, ZONE), 409, "CannotDeleteResource")
    storage.storage_accounts.update(GROUP, NAME, {"properties": {"publicNetworkAccess": "Disabled"}})
    return dashed


def remove(network, dns, storage, dashed):
    network.private_dns_zone_groups.begin_delete(GROUP, "pe", dashed).result()
    # Its records go with it.
    refused(lambda: dns.record_sets.get(GROUP, ZONE, "A", NAME), 404, "NotFound")
    dns.record_sets.delete(GROUP, ZONE, "A", NAME)
    dns.virtual_network_links.begin_delete(GROUP, ZONE, NAME).result()
    network.private_endpoints.begin_delete(GROUP, "pe").result()
    refused(lambda: network.network_interfaces.get(GROUP, "pe-nic"), 404, "ResourceNotFound")
    dns.private_zones.begin_delete(GROUP, ZONE).result()
    storage.storage_accounts.delete(GROUP, NAME)
    storage.storage_accounts.delete(GROUP, NAME)
    refused(lambda: storage.storage_accounts.get_properties(GROUP, NAME), 404, "ResourceNotFound")


CREDENTIAL = ClientSecretCredential(TENANT, CLIENT, SECRET, retry_total=0)
storage, network, dns = (fast(one) for one in (StorageManagementClient, NetworkManagementClient, PrivateDnsManagementClient))
# In the versions that the operator uses, too.
old = fast(StorageManagementClient, "2023-05-01")
key, stale = accounts(storage)
equal(old.storage_accounts.get_properties(GROUP, NAME).id, ACCOUNT)
containers(storage)
blobs(CREDENTIAL, None)
blobs(key, key)
by_stale = ContainerClient(f"https://{NAME}.blob.core.windows.net", "registry", credential=stale, retry_total=0)
refused(by_stale.get_container_properties, 403, "AuthenticationFailed")
storage.storage_accounts.update(GROUP, NAME, {"properties": {"allowSharedKeyAccess": False}})
by_key = ContainerClient(f"https://{NAME}.blob.core.windows.net", "registry", credential=key, retry_total=0)
refused(by_key.get_container_properties, 403, "KeyBasedAuthenticationNotPermitted")
dashed = networks(network, dns, storage)
by_token = ContainerClient(f"https://{NAME}.blob.core.windows.net", "registry", credential=CREDENTIAL, retry_total=0)
refused(by_token.get_container_properties, 403, "AuthorizationFailure")
remove(network, dns, storage, dashed)
