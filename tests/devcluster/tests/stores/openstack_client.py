"""OpenStack's own clients against the servers: PROJECT USER PASSWORD CREDENTIAL-ID SECRET; prints what Swift has in the end."""
import os
import sys

import keystoneclient.v3.client
import swiftclient
from keystoneauth1 import session
from keystoneauth1.identity import v3

project, user, password, credential, secret = sys.argv[1:]
url, ca = os.environ["OS_AUTH_URL"], os.environ["OS_CACERT"]

by_password = v3.Password(auth_url=url, username=user, password=password, project_name=project,
                          user_domain_name="Default", project_domain_name="Default")
by_credential = v3.ApplicationCredential(auth_url=url, application_credential_id=credential,
                                         application_credential_secret=secret)
ids = set()
for plugin in (by_password, by_credential):
    client = session.Session(auth=plugin, verify=ca)
    ids.add(client.get_project_id())
    assert keystoneclient.v3.client.Client(session=client).tokens.validate(client.get_token())["user"]["name"] == user
assert len(ids) == 1, ids

swift = swiftclient.Connection(session=session.Session(auth=by_credential, verify=ca), cacert=ca, retries=0)
swift.put_container("quarry", headers={"X-Container-Meta-Owner": "test"})
assert swift.head_container("quarry")["x-container-meta-owner"] == "test"
swift.post_container("quarry", {"X-Container-Meta-Owner": "other", "X-Container-Meta-More": "yes"})
for name in ("a/b", "c d", "e"):
    swift.put_object("quarry", name, b"body of " + name.encode())
assert swift.get_object("quarry", "c d")[1] == b"body of c d"
try:
    swift.delete_container("quarry")
    sys.exit("a container with objects was deleted")
except swiftclient.ClientException as error:
    assert error.http_status == 409, error
swift.delete_object("quarry", "e")
_, body = swift.post_account({"Content-Type": "text/plain", "Accept": "application/json"},
                             query_string="bulk-delete", data=b"/quarry/a/b\n/quarry/c%20d\n/quarry/none\n")
print(body.decode())
assert swift.get_container("quarry")[1] == []
