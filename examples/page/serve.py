"""Serves the page: python -m page.serve [--host 127.0.0.1] [--port 8018]"""

import argparse
import ipaddress
import socket

import uvicorn
from page import app, database, language
from page.embedding import Embedder
from page.views import Views


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """On the port, or on any other if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for wanted in (port, 0):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, wanted))
            listener.listen(128)
            return listener
        except OSError:
            listener.close()
            if wanted == 0:
                raise SystemExit(f"error: cannot listen on {host}")
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves the page.")
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless you say otherwise")
    parser.add_argument("--port", type=int, default=8018)
    options = parser.parse_args()
    listener = listen(options.host, options.port)
    # Names that a browser may call a loopback address by: a page of another site cannot pass as this one.
    hosts = ["127.0.0.1", "localhost", "[::1]", options.host] if is_loopback(options.host) else ["*"]
    views = Views(database.open_pool(), Embedder(), language.from_environment())
    views.embedder.one("warm")
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"serving http://{shown}:{port}/", flush=True)
    uvicorn.Server(
        uvicorn.Config(
            app.make(views, hosts),
            log_level="warning",
            access_log=False,
            timeout_keep_alive=30,
            limit_concurrency=200,
            timeout_graceful_shutdown=3,
        )
    ).run(sockets=[listener])


if __name__ == "__main__":
    main()
