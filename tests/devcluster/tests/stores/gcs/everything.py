"""Drives the stand-in with Google's own clients: KEY-FILE PROJECT KMS-KEY. Ends with 0 if all is as Google has it."""

import os
import sys

import google_auth_httplib2
import httplib2
from google.api_core import exceptions
from google.cloud import storage
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

FILE, PROJECT, KMS_KEY = sys.argv[1:]
LOCATION = "us-east1"
NAME = "kept-by-the-script"


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r} is not {expected!r}")


def buckets(client):
    bucket = client.bucket(NAME)
    bucket.labels = {"kubernetes-io-cluster-demo": "owned", "purpose": "none"}
    bucket.default_kms_key_name = KMS_KEY
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    client.create_bucket(bucket, location=LOCATION)

    found = client.get_bucket(NAME)
    equal(found.location, "US-EAST1")
    equal(found.location_type, "region")
    equal(found.storage_class, "STANDARD")
    equal(found.default_kms_key_name, KMS_KEY)
    equal(found.iam_configuration.uniform_bucket_level_access_enabled, True)
    equal(found.iam_configuration.public_access_prevention, "enforced")
    equal(found.soft_delete_policy.retention_duration_seconds, 604800)
    equal(found.versioning_enabled, False)
    equal(found.metageneration, 1)
    equal(found.time_created.tzinfo is not None, True)
    equal(found.project_number > 0, True)

    found.labels = {**found.labels, "purpose": "test"}
    found.patch()
    again = client.get_bucket(NAME)
    equal(again.labels, {"kubernetes-io-cluster-demo": "owned", "purpose": "test"})
    equal(again.metageneration, 2)
    equal(again.default_kms_key_name, KMS_KEY)
    equal([bucket.name for bucket in client.list_buckets()], [NAME])
    equal(again.test_iam_permissions(["storage.buckets.get", "compute.disks.get"]), ["storage.buckets.get"])
    try:
        again.patch(if_metageneration_match=1)
        raise AssertionError("an old metageneration counted")
    except exceptions.PreconditionFailed:
        pass
    return again


def objects(client, bucket):
    name = "docker/registry v2/a#b?c/über"
    bucket.blob(name).upload_from_string(b"simple", content_type="text/plain")
    found = bucket.get_blob(name)
    equal((found.name, found.size, found.content_type), (name, 6, "text/plain"))
    equal(found.download_as_bytes(), b"simple")
    equal(found.download_as_bytes(start=1, end=2), b"im")

    large = bucket.blob("large", chunk_size=256 * 1024)
    content = os.urandom(600 * 1024)
    with large.open("wb", ignore_flush=True) as sink:
        sink.write(content)
    equal(bucket.blob("large").download_as_bytes(), content)

    bucket.copy_blob(found, bucket, "copy")
    token, _, _ = bucket.blob("rewritten").rewrite(found)
    equal(token, None)
    bucket.blob("composed").compose([bucket.blob("copy"), bucket.blob("rewritten")])
    equal(bucket.blob("composed").download_as_bytes(), b"simplesimple")
    listed = [blob.name for blob in client.list_blobs(NAME, page_size=2)]
    equal(listed, sorted(["composed", "copy", name, "large", "rewritten"]))
    # By fake-gcs-server, where the others come from the stand-in's own record.
    equal([blob.name for blob in client.list_blobs(NAME, delimiter="|")], listed)
    equal([blob.name for blob in client.list_blobs(NAME, prefix="co")], ["composed", "copy"])
    equal([blob.download_as_bytes() for blob in client.list_blobs(NAME, prefix="composed")], [b"simplesimple"])
    try:
        bucket.blob("copy").delete(if_generation_match=1)
        raise AssertionError("an old generation counted")
    except exceptions.PreconditionFailed:
        pass
    try:
        bucket.delete()
        raise AssertionError("a bucket with objects was deleted")
    except exceptions.Conflict as error:
        equal(error.errors[0]["reason"], "conflict")
    for blob in list(client.list_blobs(NAME)):
        blob.delete()
    equal(bucket.blob("copy").exists(), False)
    try:
        bucket.blob("copy").delete()
        raise AssertionError("an object was deleted twice")
    except exceptions.NotFound:
        pass


def versions(client, bucket):
    bucket.versioning_enabled = True
    bucket.patch()
    for text in ("first", "second"):
        bucket.blob("versioned").upload_from_string(text)
    bucket.blob("versioned").delete()
    equal(list(client.list_blobs(NAME)), [])
    found = list(client.list_blobs(NAME, versions=True))
    equal([blob.name for blob in found], ["versioned", "versioned"])
    equal(all(blob.time_deleted for blob in found), True)
    for blob in found:
        client.bucket(NAME).blob("versioned", generation=blob.generation).delete()
    equal(list(client.list_blobs(NAME, versions=True)), [])
    soft = list(client.list_blobs(NAME, soft_deleted=True, prefix="versioned"))
    equal(len(soft), 2)
    equal(all(blob.hard_delete_time > blob.soft_delete_time for blob in soft), True)


def tags(credentials):
    http = google_auth_httplib2.AuthorizedHttp(
        credentials.with_scopes(["https://www.googleapis.com/auth/cloud-platform"]), http=httplib2.Http()
    )

    def service(host):
        options = {"api_endpoint": f"https://{host}"}
        return build("cloudresourcemanager", "v3", http=http, static_discovery=True, client_options=options)

    regional = service(f"{LOCATION}-cloudresourcemanager.googleapis.com")
    parent = f"//storage.googleapis.com/projects/_/buckets/{NAME}"

    def effective():
        tags = regional.effectiveTags().list(parent=parent).execute()["effectiveTags"]
        return {tag["namespacedTagValue"]: tag.get("inherited", False) for tag in tags}

    equal(effective(), {"my-project/env/test": True})
    body = {"parent": parent, "tagValueNamespacedName": "my-project/team/registry"}
    operation = regional.tagBindings().create(body=body).execute()
    equal(operation.get("done", False), False)
    equal(effective(), {"my-project/env/test": True})
    polls = 0
    while not operation.get("done"):
        operation = regional.operations().get(name=operation["name"]).execute()
        polls += 1
    equal(polls, 1)  # the list of tags was a look, too
    equal(operation["response"]["parent"], parent)
    equal(effective(), {"my-project/env/test": True, "my-project/team/registry": False})

    def refused(call, status, code):
        try:
            call.execute()
        except HttpError as error:
            equal(error.resp.status, status)
            equal(code in error.content.decode(), True)
            return
        raise AssertionError(f"no {code}")

    refused(regional.tagBindings().create(body=body), 409, "ALREADY_EXISTS")
    unknown = {"parent": parent, "tagValueNamespacedName": "my-project/team/none"}
    refused(regional.tagBindings().create(body=unknown), 403, "PERMISSION_DENIED")
    for host in ("cloudresourcemanager.googleapis.com", "us-west1-cloudresourcemanager.googleapis.com"):
        refused(service(host).effectiveTags().list(parent=parent), 400, "INVALID_ARGUMENT")
    equal(len(regional.tagBindings().list(parent=parent).execute()["tagBindings"]), 1)


credentials = service_account.Credentials.from_service_account_file(FILE)
client = storage.Client(project=PROJECT, credentials=credentials)
bucket = buckets(client)
objects(client, bucket)
versions(client, bucket)
tags(credentials)

other = client.create_bucket("gone-by-the-script", location="EU")
equal(client.get_bucket(other.name).location_type, "multi-region")
other.delete()
equal(client.lookup_bucket(other.name), None)
