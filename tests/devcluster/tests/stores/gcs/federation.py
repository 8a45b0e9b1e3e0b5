"""Reads a bucket's location with a file of external_account: FILE BUCKET. Prints it, or the error and its code."""

import json
import sys

from google.api_core import exceptions
from google.auth import identity_pool
from google.auth.exceptions import OAuthError, RefreshError
from google.cloud import storage

FILE, BUCKET = sys.argv[1:]

scopes = ["https://www.googleapis.com/auth/cloud-platform"]
credentials = identity_pool.Credentials.from_file(FILE, scopes=scopes)
try:
    print(storage.Client(project="any", credentials=credentials).get_bucket(BUCKET).location)
except OAuthError as error:
    print("OAuthError", json.loads(error.args[1])["error"])
except RefreshError as error:
    print("RefreshError", json.loads(error.args[1])["error"]["code"])
except exceptions.GoogleAPICallError as error:
    print(type(error).__name__, error.code)
