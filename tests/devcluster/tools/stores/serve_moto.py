"""moto's own server. Which backend serves a host is looked up once; moto lists the directories of all its backends at each request."""

import functools

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import main

DomainDispatcherApplication.get_backend_for_host = functools.lru_cache(maxsize=1024)(
    DomainDispatcherApplication.get_backend_for_host
)
main()
