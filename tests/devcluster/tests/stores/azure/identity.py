"""Asks for a token with Microsoft's own client, and says what came: KIND TENANT CLIENT-ID FILE SCOPE. KIND is secret, certificate,
chain (a certificate that is sent along), token, or metadata; FILE holds the credential."""

import sys

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

KIND, TENANT, CLIENT, FILE, SCOPE = sys.argv[1:]


def credential():
    if KIND == "secret":
        with open(FILE, encoding="utf-8") as file:
            return ClientSecretCredential(TENANT, CLIENT, file.read())
    if KIND in ("certificate", "chain"):
        return CertificateCredential(TENANT, CLIENT, FILE, send_certificate_chain=KIND == "chain")
    if KIND == "token":
        return WorkloadIdentityCredential(tenant_id=TENANT, client_id=CLIENT, token_file_path=FILE)
    return ManagedIdentityCredential(client_id=CLIENT)


try:
    token = credential().get_token(SCOPE)
    print("token", token.token)
except ClientAuthenticationError as error:
    text = str(error.message)
    if "AADSTS" in text:
        print("refused", text.split("AADSTS", 1)[1].split(":", 1)[0])
    else:
        print("refused", text.splitlines()[0])
