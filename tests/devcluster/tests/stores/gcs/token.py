"""Prints an access token for a service account: KEY-FILE."""

import sys

import google.auth.transport.requests
from google.oauth2 import service_account

scopes = ["https://www.googleapis.com/auth/cloud-platform"]
credentials = service_account.Credentials.from_service_account_file(sys.argv[1], scopes=scopes)
credentials.refresh(google.auth.transport.requests.Request())
print(credentials.token)
