"""Serves Keystone: `serve_keystone.py ADDRESS PORT [CERTIFICATE KEY]`, in a directory with keystone.conf, and keystone.db
of initialise.py. KEYSTONE in the URLs of the catalogue becomes this server's own."""
import base64
import os
import sqlite3
import ssl
import sys
import threading

address, port, *tls = sys.argv[1:]
# oslo.config parses the command line of whatever program it is in.
sys.argv = ["keystone"]
os.environ["OS_KEYSTONE_CONFIG_DIR"] = os.getcwd()

origin = f"{'https' if tls else 'http'}://{address}:{port}"
with sqlite3.connect("keystone.db") as database:
    database.execute("UPDATE endpoint SET url = replace(url, 'KEYSTONE', ?)", (origin,))
    # Readers do not wait for writers.
    database.execute("PRAGMA journal_mode = WAL")
# Each server signs with keys of its own: a token of another one is worth nothing here.
os.mkdir("keys", 0o700)
for number in (0, 1):
    with open(f"keys/{number}", "wb") as file:
        file.write(base64.urlsafe_b64encode(os.urandom(32)))

from keystone.wsgi.api import application  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402

# One request that writes at a time: SQLite ends a transaction that has read ("database is locked", status 500) when it begins to
# write after another one has written. Other databases let it wait.
writing = threading.Lock()


def serve(environ, start_response):
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return application(environ, start_response)
    with writing:
        return application(environ, start_response)


# Connections stay open, as with the servers that production uses.
WSGIRequestHandler.protocol_version = "HTTP/1.1"
server = make_server(address, int(port), serve, threaded=True)
if tls:
    server.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.ssl_context.load_cert_chain(*tls)
    # The handshake is up to the thread of the connection: a client that says nothing keeps nobody waiting.
    server.socket = server.ssl_context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
