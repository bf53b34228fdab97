"""Single values: what is taken, what it becomes, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_py.config import DirectoryStructure, IgnoredKeys, MediaRetention, MediaScope
from tests.config.files import config, refusal

DAY_S = 86_400


@pytest.mark.parametrize(
    "line",
    [
        "port = 65536",
        "port = -1",
        "port = true",
        "port = 80.0",
        "allow_federation = 1",
        "db_cache_capacity_mb = 0",
        "db_cache_capacity_mb = nan",
        "db_cache_capacity_mb = inf",
        "max_request_size = 1000",
        "max_request_size = 5_000_000_000",
        "max_request_size = '20 apples'",
        "max_concurrent_requests = 0",
        "server_name = 'https://a.test'",
        "server_name = 'a.test/'",
        "server_name = 'a_b.test'",
        "server_name = 'a.test:0'",
        "server_name = 'a.test:70000'",
        "server_name = '[::zz]'",
        f"server_name = '{'a' * 231}'",
        "address = '127.0.0.1:80'",
        "address = 'localhost'",
        "default_room_version = '13'",
        "default_room_version = 10",
        "log_format = 'xml'",
        "log = 3",
        "unix_socket_perms = 660",
        "unix_socket_perms = '888'",
        "trusted_proxies = ['10.0.0.0/33']",
        "trusted_proxies = '10.0.0.0/8'",
        "trusted_servers = ['a b']",
        "forbidden_remote_server_names = ['a b']",
        "well_known.client = 'a.test'",
        "well_known.client = 'ftp://a.test'",
        "well_known.client = 'https://'",
        "well_known.client = 'https://a.test:99999'",
        "well_known.client = 'https://a test'",
        "well_known.server = 'https://a.test'",
        "well_known.support_email = 'admin'",
        "well_known.support_mxid = 'admin'",
        "well_known.support_role = 'chef'",
        "metrics_address = '9090'",
        "metrics_address = '::1:9090'",
        "metrics_address = '[127.0.0.1]:9090'",
        "metrics_address = '127.0.0.1:0'",
        "access_token_ttl = 0",
        "access_token_ttl = '1 lightyear'",
        "access_token_ttl = '0s'",
        "openid_token_ttl = false",
        "password_hash.memory = 1",
        "rate_limits.login.per_second = 0",
        "rate_limits.login.burst = 0.5",
        "proxy = 'some'",
        "proxy = 3",
        "proxy.global = 3",
        "proxy.global.include = ['a']",
        "proxy.global.url = 'gopher://h'",
        "proxy.by_domain = 'x'",
        "proxy = { global = { url = 'http://h:1' }, by_domain = [] }",
        "media.directory_structure = { depth = 2 }",
        "media.directory_structure = { depth = 8, length = 8 }",
        "media.directory_structure = { depth = 0, length = 2 }",
        "media.directory_structure = { depth = 2, length = 2, width = 1 }",
        "media.retention = 'none'",
        "media.retention = ['remote']",
        "media.retention = [{ scope = 'everything' }]",
        "media.retention = [{ scope = 'local' }, { scope = 'local' }]",
        "media.retention = [{ space = 1 }, { space = 2 }]",
        "media.retention = [{ scope = 'local', age = 1 }]",
        "ignored_keys = 'k'",
        "ignored_keys = [3]",
        "ignored_keys = { 'a b' = [] }",
        "database_path = 3",
        'database_path = "a\\u0000b"',
        "2021-01-01 = 1\nport = 2021-01-01",
    ],
)
def test_wrong_value_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    text = refusal(tmp_path, f"workers = 1\n{line}\n")
    assert text.startswith(f"conduit.toml, line {1 + len(line.splitlines())}: ")
    assert "; expected " in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("'90'", 90),
        ("'60s'", 60),
        ("'2min'", 120),
        ("'1h 30m'", 5400),
        ("'1h30min'", 5400),
        ("'240hours'", 240 * 3600),
        ("'7d'", 7 * DAY_S),
        ("'90days'", 90 * DAY_S),
        ("'2w'", 14 * DAY_S),
        ("'2months'", 5_260_032),
        ("'1M'", 2_630_016),
        ("'1y'", 31_557_600),
    ],
)
def test_time_is_read(tmp_path: Path, text: str, seconds: int) -> None:
    assert config(tmp_path, f"access_token_ttl = {text}").access_token_ttl == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20_000_000", 20_000_000),
        ("'20000000'", 20_000_000),
        ("'20MB'", 20_000_000),
        ("'20 mib'", 20_971_520),
        ("'1.5G'", 1_500_000_000),
        ("'1GiB'", 1_073_741_824),
    ],
)
def test_size_is_read(tmp_path: Path, text: str, size: int) -> None:
    assert config(tmp_path, f"max_request_size = {text}").max_request_size == size


@pytest.mark.parametrize("name", ["localhost", "a.test", "a.test:8448", "1.2.3.4", "[::1]:8448", "a" * 230])
def test_server_name_is_read(tmp_path: Path, name: str) -> None:
    assert config(tmp_path, f'server_name = "{name}"').server_name == name


def test_permissions_are_octal(tmp_path: Path) -> None:
    assert config(tmp_path, 'unix_socket_perms = "0640"').unix_socket_perms == 0o640


@pytest.mark.parametrize("text", ["127.0.0.1:9090", "[::1]:9090", "/run/metrics.sock"])
def test_address_with_port_is_read(tmp_path: Path, text: str) -> None:
    assert str(config(tmp_path, f'metrics_address = "{text}"').metrics_address) == text


def test_empty_list_is_not_the_default(tmp_path: Path) -> None:
    assert config(tmp_path, "trusted_servers = []").trusted_servers == ()
    assert config(tmp_path, 'trusted_servers = ["", "a.test"]').trusted_servers == ("a.test",)


def test_proxy_none_is_no_proxy(tmp_path: Path) -> None:
    assert config(tmp_path, 'proxy = "none"').proxy.get_url("a.test") is None


def test_global_proxy_covers_every_host(tmp_path: Path) -> None:
    proxy = config(tmp_path, '[global.proxy]\nglobal = { url = "socks5h://localhost:9050" }').proxy
    assert proxy.get_url("a.test") == "socks5h://localhost:9050"


BY_DOMAIN = """
[[global.proxy.by_domain]]
url = "socks5h://localhost:9050"
include = ["*.onion", "matrix.myspecial.onion", "*.deep.clear.onion"]
exclude = ["*.myspecial.onion", "*.clear.onion", "plain.onion"]

[[global.proxy.by_domain]]
url = "http://second:3128"
exclude = ["direct.test"]
"""


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("ordinary.onion", "socks5h://localhost:9050"),
        ("ORDINARY.onion", "socks5h://localhost:9050"),
        ("matrix.myspecial.onion", "socks5h://localhost:9050"),
        ("a.deep.clear.onion", "socks5h://localhost:9050"),
        ("hello.myspecial.onion", "http://second:3128"),
        ("plain.onion", "http://second:3128"),
        ("a.test", "http://second:3128"),
        ("direct.test", None),
    ],
)
def test_proxy_by_domain_takes_the_more_specific_pattern(tmp_path: Path, host: str, url: str | None) -> None:
    assert config(tmp_path, BY_DOMAIN).proxy.get_url(host) == url


def test_empty_directory_structure_is_flat(tmp_path: Path) -> None:
    assert config(tmp_path, "[global.media.directory_structure]\n").media.directory_structure == DirectoryStructure(
        0, 0
    )


def test_retention_without_a_word_deletes_what_can_be_fetched_again(tmp_path: Path) -> None:
    month = MediaRetention(accessed=30 * DAY_S)
    assert config(tmp_path, "").media.retention.scoped == {MediaScope.REMOTE: month, MediaScope.THUMBNAIL: month}


def test_retention_keeps_defaults_of_scopes_not_named(tmp_path: Path) -> None:
    text = '[[global.media.retention]]\nspace = "40G"\n[[global.media.retention]]\nscope = "local"\naccessed = "1y"\n'
    retention = config(tmp_path, text).media.retention
    assert retention.global_space == 40_000_000_000
    assert retention.scoped == {
        MediaScope.LOCAL: MediaRetention(accessed=31_557_600),
        MediaScope.REMOTE: MediaRetention(accessed=30 * DAY_S),
        MediaScope.THUMBNAIL: MediaRetention(accessed=30 * DAY_S),
    }


def test_retention_times_without_a_scope_are_for_all_scopes_not_named(tmp_path: Path) -> None:
    text = 'media.retention = [{ created = "90days" }, { scope = "thumbnail", space = "1GB" }]'
    assert config(tmp_path, text).media.retention.scoped == {
        MediaScope.LOCAL: MediaRetention(created=90 * DAY_S),
        MediaScope.REMOTE: MediaRetention(created=90 * DAY_S),
        MediaScope.THUMBNAIL: MediaRetention(space=1_000_000_000),
    }


@pytest.mark.parametrize("text", ['["abc="]', '[{ key = "abc" }]'])
def test_ignored_keys_by_public_key(tmp_path: Path, text: str) -> None:
    assert config(tmp_path, f"ignored_keys = {text}").ignored_keys == IgnoredKeys(frozenset({"abc"}), {})


def test_ignored_keys_by_server(tmp_path: Path) -> None:
    text = '[global.ignored_keys]\n"a.test" = ["ed25519:auto"]\n'
    assert config(tmp_path, text).ignored_keys == IgnoredKeys(frozenset(), {"a.test": frozenset({"ed25519:auto"})})
