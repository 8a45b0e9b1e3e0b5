"""Makes Keystone's database once: `initialise.py DIRECTORY PASSWORD`.

The schema, a domain, the roles, an administrator `admin`, and what Swift needs: its user `swift`, and its service, still
without an endpoint. Keystone's own URL is a placeholder: a start copies DIRECTORY/keystone.db, with the configuration
DIRECTORY/keystone.conf, and fills it in (serve_keystone.py).
"""
import base64
import os
import sqlite3
import sys

directory, password = sys.argv[1:]
os.chdir(directory)
# The libraries below parse the command line.
sys.argv = ["keystone"]
# Paths are relative, so that the directory can be copied.
with open("keystone.conf", "w") as file:
    file.write("""\
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///keystone.db
sqlite_synchronous = false
[identity]
password_hash_rounds = 4
[fernet_tokens]
key_repository = keys
[fernet_receipts]
key_repository = keys
[cache]
enabled = true
backend = dogpile.cache.memory
""")

# For this run alone; each start makes its own.
os.mkdir("keys", 0o700)
with open("keys/0", "wb") as file:
    file.write(base64.urlsafe_b64encode(os.urandom(32)))

import keystone.conf  # noqa: E402
from keystone.common import provider_api  # noqa: E402
from keystone.common.sql import upgrades  # noqa: E402
from keystone.server import configure  # noqa: E402

keystone.conf.configure()
configure(config_files=["keystone.conf"])
upgrades.offline_sync_database_to_version()

from keystone.cmd import bootstrap  # noqa: E402

make = bootstrap.Bootstrapper()
make.admin_username = "admin"
make.admin_password = password
make.admin_role_name = "admin"
make.project_name = "admin"
make.service_name = "keystone"
make.region_id = "RegionOne"
make.public_url = make.internal_url = make.admin_url = "KEYSTONE/v3"
make.bootstrap()

apis = provider_api.ProviderAPIs
domain = keystone.conf.CONF.identity.default_domain_id
project = {"id": "service", "name": "service", "domain_id": domain, "description": "", "enabled": True,
           "is_domain": False, "parent_id": domain, "options": {}}
apis.resource_api.create_project("service", project)
user = {"name": "swift", "password": password, "domain_id": domain, "enabled": True,
        "default_project_id": "service", "options": {}}
user = apis.identity_api.create_user(user)
for role in apis.role_api.list_roles():
    if role["name"] in ("admin", "service"):
        apis.assignment_api.add_role_to_user_and_project(user["id"], "service", role["id"])
service = {"id": "swift", "type": "object-store", "name": "swift", "enabled": True, "description": ""}
apis.catalog_api.create_service("swift", service)

with sqlite3.connect("keystone.db") as connection:
    # One file, to be copied.
    connection.execute("PRAGMA journal_mode = DELETE")
