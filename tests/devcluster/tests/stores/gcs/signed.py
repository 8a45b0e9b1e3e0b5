"""Reads an object with a JWT that the account signs itself, and by signed URLs: KEY-FILE."""

import datetime
import sys

import requests
from google.cloud import storage
from google.oauth2 import service_account

scopes = ["https://www.googleapis.com/auth/devstorage.full_control"]
credentials = service_account.Credentials.from_service_account_file(sys.argv[1], scopes=scopes)
credentials = credentials.with_always_use_jwt_access(True)
client = storage.Client(project="any", credentials=credentials)
blob = client.bucket("a-bucket").blob("an/object name")
assert blob.download_as_bytes() == b"text"
for version in ("v2", "v4"):
    url = blob.generate_signed_url(expiration=datetime.timedelta(minutes=5), version=version)
    answer = requests.get(url, timeout=30)
    assert (answer.status_code, answer.content) == (200, b"text"), (version, answer.content)
    forged = requests.get(url.replace("object%20name", "other"), timeout=30)
    assert forged.status_code == 403, (version, forged.status_code)
