"""Serves Swift: `serve_swift.py`, in a directory with swift.json:

    {"address": "127.0.0.1", "ports": [PROXY, ACCOUNT, CONTAINER, OBJECT],
     "tls": [CERTIFICATE, KEY] or null, "without": ["bulk", ...],
     "keystone": URL with /v3, "password": of the user swift, "cafile": FILE or null,
     "token_cache_time": SECONDS or -1}

The four servers are Swift's own, with one replica and one device, and they speak HTTP with each other; they share a
process to start fast. Replicators, updaters and expirers do not run.
"""
import json
import logging
import os
import ssl
import sys
import time

with open("swift.json") as file:
    settings = json.load(file)
address, ports = settings["address"], settings["ports"]
here = os.getcwd()
device = os.path.join(here, "devices", "sda1")
os.makedirs(device)
try:
    os.setxattr(device, "user.swift.metadata", b"probe")
except OSError as error:
    sys.exit(f"Swift keeps metadata in extended attributes, and the file system of {device} has none ({error}): "
             "name a directory of another one in TMPDIR")

import eventlet  # noqa: E402
import eventlet.wsgi  # noqa: E402

from swift.common import constraints, db, utils, wsgi  # noqa: E402

utils.eventlet_monkey_patch()


def without_fsync(connect):
    def connect_without(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute("PRAGMA synchronous = OFF")
        return connection
    return connect_without


# The data need not outlive the machine.
os.fsync = os.fdatasync = lambda descriptor: None
db.get_db_connection = without_fsync(db.get_db_connection)

# The first filter is the outermost; symlink has to come after versioned_writes.
PIPELINE = ["catch_errors", "gatekeeper", "healthcheck", "proxy-logging", "listing_formats", "bulk", "tempurl", "authtoken",
            "keystoneauth", "copy", "container-quotas", "account-quotas", "slo", "dlo", "versioned_writes", "symlink",
            "proxy-logging", "proxy-server"]
EGGS = {"proxy-logging": "proxy_logging", "container-quotas": "container_quotas", "account-quotas": "account_quotas"}
MORE = {
    "authtoken": {
        "paste.filter_factory": "keystonemiddleware.auth_token:filter_factory",
        "www_authenticate_uri": settings["keystone"],
        "auth_url": settings["keystone"],
        "auth_type": "password",
        "project_domain_id": "default",
        "user_domain_id": "default",
        "project_name": "service",
        "username": "swift",
        "password": settings["password"].replace("%", "%%"),
        "delay_auth_decision": "true",
        # -1: a user who is deleted is refused at the next request.
        "token_cache_time": str(settings["token_cache_time"]),
        "service_token_roles_required": "true",
        "log_name": "authtoken",
    },
    "keystoneauth": {
        "operator_roles": "admin, member",
        # Keystone's administrator sees every account.
        "reseller_admin_role": "admin",
    },
}
if settings["cafile"]:
    MORE["authtoken"]["cafile"] = settings["cafile"]


def section(name, values):
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def write(name, *sections):
    with open(name, "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write("\n".join(sections))


def common(port, **more):
    return section("DEFAULT", {
        "bind_ip": address, "bind_port": port, "swift_dir": here, "devices": os.path.join(here, "devices"),
        "mount_check": "false", "disable_fallocate": "true", "fallocate_reserve": "0", "workers": "0",
        "conn_timeout": "10", **more})


def rings():
    from swift.common.ring import RingBuilder
    for kind, port in zip(("account", "container", "object"), ports[1:]):
        builder = RingBuilder(4, 1, 1)
        builder.add_dev({"region": 1, "zone": 1, "ip": address, "port": port, "replication_ip": address,
                         "replication_port": port, "device": "sda1", "weight": 1.0, "meta": ""})
        builder.rebalance()
        builder.get_ring().save(f"{kind}.ring.gz")


def configure():
    write("swift.conf", section("swift-hash", {"swift_hash_path_suffix": "devcluster"}))
    pipeline = [name for name in PIPELINE if name not in settings["without"]]
    filters = []
    for name in sorted(set(pipeline[:-1])):
        egg = {} if name == "authtoken" else {"use": f"egg:swift#{EGGS.get(name, name)}"}
        if name == "versioned_writes":
            egg["allow_versioned_writes"] = "true"
            egg["allow_object_versioning"] = str("symlink" in pipeline).lower()
        filters.append(section(f"filter:{name}", {**egg, **MORE.get(name, {})}))
    write("proxy-server.conf", common(ports[0]), section("pipeline:main", {"pipeline": " ".join(pipeline)}),
          section("app:proxy-server", {"use": "egg:swift#proxy", "account_autocreate": "true"}), *filters)
    for kind, port in zip(("account", "container", "object"), ports[1:]):
        write(f"{kind}-server.conf", common(port), section("pipeline:main", {"pipeline": f"{kind}-server"}),
              section(f"app:{kind}-server", {"use": f"egg:swift#{kind}"}))


def log_here():
    """The log goes to standard error instead of this machine's syslog."""
    class Here(logging.StreamHandler):
        def __init__(self, **_):
            super().__init__(sys.__stderr__)
    from swift.common.utils import logs
    logs.ThreadSafeSysLogHandler = Here


class Cache:
    """What memcached is to Swift's proxy: it remembers for a minute that an account and a container exist."""
    def __init__(self):
        self.kept = {}

    def get(self, key, **_):
        value, end = self.kept.get(key, ("null", 0))
        return json.loads(value) if time.time() < end else None

    def set(self, key, value, **options):
        self.kept[key] = (json.dumps(value), time.time() + options.get("time", 0))

    def delete(self, key, **_):
        self.kept.pop(key, None)


def with_cache(application):
    cache = Cache()

    def call(environ, start_response):
        environ["swift.cache"] = cache
        return application(environ, start_response)
    return call


def serve(kind, port, tls):
    name = f"{kind}-server.conf"
    conf = utils.readconf(os.path.join(here, name), f"app:{kind}-server", log_name=f"{kind}-server")
    sock = wsgi.get_socket({"bind_ip": address, "bind_port": port})
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        # The handshake is up to the connection: a client that says nothing keeps nobody waiting.
        sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    # As swift.common.wsgi.run_server, which makes an event loop for each server.
    application = wsgi.loadapp(conf["__file__"], global_conf={"log_name": f"{kind}-server"})
    if kind == "proxy":
        application = with_cache(application)
    eventlet.wsgi.server(sock, application, wsgi.NullLogger(), protocol=wsgi.SwiftHttpProtocol, socket_timeout=60,
                         capitalize_response_headers=False, url_length_limit=constraints.MAX_REQUEST_LINE)


os.environ["TZ"] = "UTC+0"
time.tzset()
eventlet.hubs.use_hub(wsgi.get_hub())
rings()
configure()
log_here()
utils.set_swift_dir(here)
servers = [eventlet.spawn(serve, kind, port, settings["tls"] if kind == "proxy" else None)
           for kind, port in zip(("account", "container", "object", "proxy"), [*ports[1:], ports[0]])]
for server in servers:
    # An error ends the process, and with it the start.
    server.wait()
