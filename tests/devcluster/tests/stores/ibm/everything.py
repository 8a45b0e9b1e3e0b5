"""Drives the stand-in for IBM Cloud with IBM's own clients: ADDRESS API-KEY GROUP."""

import sys

import ibm_boto3
from ibm_botocore.client import ClientError, Config
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_platform_services import ResourceControllerV2, ResourceManagerV2

ADDRESS, API_KEY, GROUP = sys.argv[1:]
PLAN = "744bfc56-d12c-4866-88d5-dac9139e0e5d"
WRITER = "crn:v1:bluemix:public:iam::::serviceRole:Writer"

authenticator = IAMAuthenticator(API_KEY, url=ADDRESS)
manager = ResourceManagerV2(authenticator=authenticator)
manager.set_service_url(ADDRESS)
controller = ResourceControllerV2(authenticator=authenticator)
controller.set_service_url(ADDRESS)

groups = manager.list_resource_groups(account_id="account-1", name=GROUP).get_result()["resources"]
assert [group["name"] for group in groups] == [GROUP], groups
group = groups[0]["id"]
assert manager.get_resource_group(group).get_result()["name"] == GROUP
assert manager.list_resource_groups(account_id="account-1", name="none").get_result()["resources"] == []

found = controller.list_resource_instances(name="blue", resource_group_id=group, resource_plan_id=PLAN)
assert found.get_result()["resources"] == []
created = controller.create_resource_instance(
    name="blue", target="bluemix-global", resource_group=group, resource_plan_id=PLAN,
    tags=["kubernetes.io_cluster_blue:owned"],
).get_result()
crn = created["crn"]
assert created["state"] == "active" and created["name"] == "blue", created
assert crn.startswith("crn:v1:bluemix:public:cloud-object-storage:global:a/account-1:") and crn.endswith("::"), crn
read = controller.get_resource_instance(crn).get_result()
assert (read["crn"], read["state"], read["resource_group_id"]) == (crn, "active", group), read
found = controller.list_resource_instances(name="blue", resource_group_id=group, resource_plan_id=PLAN)
assert [one["crn"] for one in found.get_result()["resources"]] == [crn]

keys = []
for number in range(12):
    key = controller.create_resource_key(name=f"key-{number}", source=crn, role=WRITER, parameters={"HMAC": True})
    keys.append(key.get_result())
# The pages of a list.
pager_url, seen = None, []
listed = controller.list_resource_keys_for_instance(crn, limit=10).get_result()
seen += [key["name"] for key in listed["resources"]]
assert listed["next_url"], listed
start = listed["next_url"].split("start=")[1]
listed = controller.list_resource_keys_for_instance(crn, limit=10, start=start).get_result()
seen += [key["name"] for key in listed["resources"]]
assert seen == [f"key-{number}" for number in range(12)], seen
assert not listed.get("next_url"), listed
key = controller.get_resource_key(keys[0]["crn"]).get_result()
assert key["source_crn"] == crn and key["credentials"]["iam_role_crn"] == WRITER, key
assert controller.delete_resource_key(keys[1]["crn"]).get_status_code() == 204
assert controller.get_resource_key(keys[1]["crn"]).get_result()["state"] == "removed"


def client(**credentials):
    return ibm_boto3.client("s3", endpoint_url=ADDRESS, region_name="us-south", **credentials)


def bearer(instance):
    return client(
        ibm_api_key_id=API_KEY, ibm_service_instance_id=instance, ibm_auth_endpoint=ADDRESS + "/identity/token",
        config=Config(signature_version="oauth", s3={"addressing_style": "path"}),
    )


def code(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return None


operator = bearer(crn)
smart = {"LocationConstraint": "us-south-smart"}
assert code(operator.head_bucket, Bucket="of-the-script") == (404, "404")
wrong = {"LocationConstraint": "us-south"}
assert code(operator.create_bucket, Bucket="of-the-script", CreateBucketConfiguration=wrong) == (
    400, "InvalidLocationConstraint")
operator.create_bucket(Bucket="of-the-script", CreateBucketConfiguration=smart)
again = code(operator.create_bucket, Bucket="of-the-script", CreateBucketConfiguration=smart)
assert again == (409, "BucketAlreadyOwnedByYou"), again
operator.head_bucket(Bucket="of-the-script")
assert [bucket["Name"] for bucket in operator.list_buckets()["Buckets"]] == ["of-the-script"]
assert operator.get_bucket_location(Bucket="of-the-script")["LocationConstraint"] == "us-south-smart"
operator.put_object(Bucket="of-the-script", Key="by/token", Body=b"by token")

# The registry, with the HMAC keys.
hmac = key["credentials"]["cos_hmac_keys"]
registry = client(
    aws_access_key_id=hmac["access_key_id"], aws_secret_access_key=hmac["secret_access_key"],
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
)
assert registry.get_object(Bucket="of-the-script", Key="by/token")["Body"].read() == b"by token"
registry.put_object(Bucket="of-the-script", Key="by/hmac", Body=b"by HMAC")
assert operator.get_object(Bucket="of-the-script", Key="by/hmac")["Body"].read() == b"by HMAC"
upload = registry.create_multipart_upload(Bucket="of-the-script", Key="parts")["UploadId"]
part = registry.upload_part(Bucket="of-the-script", Key="parts", UploadId=upload, PartNumber=1, Body=b"one")
registry.complete_multipart_upload(
    Bucket="of-the-script", Key="parts", UploadId=upload,
    MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]},
)
assert registry.head_object(Bucket="of-the-script", Key="parts")["ContentLength"] == 3
names = {"Objects": [{"Key": name} for name in ("by/token", "by/hmac", "parts")]}
assert len(operator.delete_objects(Bucket="of-the-script", Delete=names)["Deleted"]) == 3
assert "Contents" not in operator.list_objects_v2(Bucket="of-the-script")

# A key that was deleted reaches nothing, and the names of all instances are in one namespace.
gone = keys[1]["credentials"]["cos_hmac_keys"]
stranger = client(
    aws_access_key_id=gone["access_key_id"], aws_secret_access_key=gone["secret_access_key"],
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
)
assert code(stranger.list_objects_v2, Bucket="of-the-script") == (403, "InvalidAccessKeyId")
other = controller.create_resource_instance(
    name="green", target="bluemix-global", resource_group=group, resource_plan_id=PLAN).get_result()["crn"]
taken = code(bearer(other).create_bucket, Bucket="of-the-script", CreateBucketConfiguration=smart)
assert taken == (409, "BucketAlreadyExists"), taken
operator.delete_bucket(Bucket="of-the-script")
assert code(operator.list_objects_v2, Bucket="of-the-script") == (404, "NoSuchBucket")
# The name of a deleted bucket is kept for a while, also from whoever had it.
again = code(operator.create_bucket, Bucket="of-the-script", CreateBucketConfiguration=smart)
assert again == (409, "BucketAlreadyExists"), again
assert code(operator.head_bucket, Bucket="of-the-script") == (404, "404")
operator.create_bucket(Bucket="of-the-script", CreateBucketConfiguration=smart)
operator.delete_bucket(Bucket="of-the-script")
assert controller.delete_resource_instance(other).get_status_code() == 202
assert controller.get_resource_instance(other).get_result()["state"] == "pending_reclamation"
# A list has only what is active or being provisioned, unless it asks for a state.
assert controller.list_resource_instances(name="green").get_result()["resources"] == []
found = controller.list_resource_instances(name="green", state="pending_reclamation").get_result()["resources"]
assert [one["crn"] for one in found] == [other], found
print("done")
