"""The service files and web server configurations of the pages are accepted by what reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from supervisor.options import ServerOptions

from tests.docs.pages import Block, load_pages

PROGRAM = "/usr/local/bin/conduit_py"
CERTIFICATES = "/etc/letsencrypt/live/example.org/"


def block_of(page: str, file: str) -> Block:
    (found,) = (
        block for loaded in load_pages() if loaded.name == page for block in loaded.blocks() if block.file == file
    )
    return found


def check(*command: str | Path) -> None:
    """The tool says nothing and ends with 0, or is not here."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_supervisord_reads_the_service_of_shared_hosting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "supervisord.conf"
    file.write_text(f"[supervisord]\n{block_of('install-uberspace.md', 'etc/services.d/conduit_py.ini').text}")
    options = ServerOptions()
    options.realize(["-c", str(file), "-n"])
    (group,) = options.process_group_configs
    (process,) = group.process_configs
    assert process.command == f"{tmp_path}/bin/conduit_py.pyz --config {tmp_path}/conduit.toml"
    assert process.stopwaitsecs > 5


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "conduit_py.service"
    text = block_of("install-vps.md", unit.name).text
    assert text.count(PROGRAM) == 1
    unit.write_text(text.replace(PROGRAM, sys.executable))
    check("systemd-analyze", "verify", "--man=no", unit)


def test_caddy_reads_its_file(tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(block_of("install-vps.md", file.name).text)
    check("caddy", "validate", "--adapter", "caddyfile", "--config", file)


def test_nginx_reads_its_file(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("example.org")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "fullchain.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "privkey.pem")
    text = block_of("install-vps.md", "nginx/conduit_py.conf").text
    assert text.count(CERTIFICATES) == 2
    file = tmp_path / "nginx.conf"
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    site = text.replace(CERTIFICATES, f"{tmp_path}/")
    file.write_text(f"events {{}}\npid {tmp_path}/pid;\nhttp {{\naccess_log off;\n{places}{site}}}\n")
    check("nginx", "-t", "-e", "stderr", "-c", file)


def test_files_of_delegation_say_what_the_server_would() -> None:
    client = json.loads(block_of("delegation.md", "html/.well-known/matrix/client").text)
    server = json.loads(block_of("delegation.md", "html/.well-known/matrix/server").text)
    assert client == {"m.homeserver": {"base_url": "https://matrix.example.org"}}
    assert server == {"m.server": "matrix.example.org:443"}
    configured = block_of("delegation.md", "conduit.toml").text
    assert f'client = "{client["m.homeserver"]["base_url"]}"' in configured
    assert f'server = "{server["m.server"]}"' in configured
