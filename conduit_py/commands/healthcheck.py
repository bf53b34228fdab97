"""``healthcheck``: ask the running server whether it is well."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from pathlib import Path

import click

from conduit_py.commands.configuration import read_configuration
from conduit_py.commands.options import Refused, config_option
from conduit_py.config import Config, SocketAddress

HEALTH_PATH = "/health"
ANSWER_BYTES_MAX = 64 * 1024


@click.command(short_help="Ask the running server whether it is well.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=5, help="Seconds to wait. Default: 5.")
@config_option
def command(config_path: Path | None, timeout_s: float) -> None:
    """Ask the server that runs with this configuration whether it is well.

    Ends with 0 if it says so, and otherwise with 1 and a sentence.
    """
    config = read_configuration(config_path).config
    address = _find_address(config)
    try:
        with closing(_connect(address, timeout_s, tls=config.tls is not None)) as connection:
            connection.request("GET", HEALTH_PATH)
            answer = connection.getresponse()
            report = answer.read(ANSWER_BYTES_MAX).decode(errors="replace")
    except (OSError, HTTPException) as error:
        raise Refused(f"the server at {address} does not answer: {error}") from None
    if answer.status != 200:
        raise Refused(f"the server at {address} is not well: it answers {answer.status} {report}")
    click.echo(f"the server at {address} is well")


def _find_address(config: Config) -> SocketAddress | Path:
    if config.unix_socket_path is not None:
        return config.unix_socket_path
    if config.port == 0:
        raise Refused("port is 0, so the system chooses one at each start: there is no knowing where to ask")
    here = config.address
    if here.is_unspecified:
        here = ip_address("127.0.0.1" if here.version == 4 else "::1")
    return SocketAddress(here, config.port)


def _connect(address: SocketAddress | Path, timeout_s: float, *, tls: bool) -> HTTPConnection:
    if isinstance(address, Path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout_s)
        sock.connect(str(address))
    else:
        sock = socket.create_connection((str(address.host), address.port), timeout_s)
        if tls:
            sock = _unverified().wrap_socket(sock)
    connection = HTTPConnection("localhost")
    connection.sock = sock
    return connection


def _unverified() -> ssl.SSLContext:
    """The certificate names the server's domain, and this is an address of the machine itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
