"""What Google's client sees when a call is refused: KEY-FILE FILE-OF-A-STRANGER PROJECT OTHER-PROJECT KMS-KEY."""

import sys

from google.api_core import exceptions
from google.cloud import storage

FILE, STRANGE, PROJECT, OTHER, KMS_KEY = sys.argv[1:]


def refused(call, code, reason):
    try:
        call()
    except exceptions.GoogleAPICallError as error:
        found = (error.code, error.errors[0]["reason"])
        if found != (code, reason):
            raise AssertionError(f"{found} is not {(code, reason)}: {error}") from error
        return
    raise AssertionError(f"no {code} {reason}")


client = storage.Client.from_service_account_json(FILE, project=PROJECT)
bucket = client.get_bucket("a-bucket")
blob = bucket.blob("an/object")
assert [found.name for found in client.list_blobs("a-bucket")] == ["an/object"]
refused(lambda: client.create_bucket("another-bucket"), 403, "forbidden")
refused(lambda: list(client.list_buckets()), 403, "forbidden")
refused(bucket.delete, 403, "forbidden")
refused(bucket.patch, 403, "forbidden")
refused(blob.reload, 403, "forbidden")
refused(blob.delete, 403, "forbidden")
refused(lambda: client.get_bucket("no-bucket"), 404, "notFound")
refused(lambda: list(client.list_blobs("no-bucket")), 404, "notFound")

strange = storage.Client.from_service_account_json(STRANGE, project=OTHER)
refused(lambda: strange.get_bucket("a-bucket"), 403, "forbidden")
refused(lambda: strange.create_bucket("a-bucket"), 409, "conflict")
refused(lambda: strange.create_bucket("Not_A_Name"), 400, "invalid")
refused(lambda: strange.create_bucket("my-google-bucket"), 400, "invalid")
refused(lambda: strange.create_bucket("a-third-bucket", project="no-project"), 400, "invalid")
refused(lambda: strange.create_bucket("a-third-bucket", project=PROJECT), 403, "forbidden")


def with_key(name, location):
    bucket = strange.bucket("a-third-bucket")
    bucket.default_kms_key_name = name
    return lambda: strange.create_bucket(bucket, location=location)


refused(with_key("no key", "us-east1"), 400, "invalid")
refused(with_key(KMS_KEY, "us-west1"), 400, "invalid")
refused(with_key(KMS_KEY, "us-east1"), 403, "forbidden")
assert strange.lookup_bucket("a-third-bucket") is None
