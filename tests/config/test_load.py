"""Which settings are found, which of them win, and what the operator is told."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from conduit_py.config import Config, ConfigError, Tls, Turn, WellKnown, load_config
from conduit_py.config.odd_keys import MEANINGLESS, RENAMED
from tests.config.files import GUIDE_OF_2021, config, load, refusal


def test_nothing_at_all_gives_a_server_on_loopback() -> None:
    loaded = load_config(None, {})
    assert (loaded.path, loaded.warnings, loaded.notes) == (None, [], [])
    assert (loaded.config.server_name, loaded.config.port) == ("localhost", 8000)
    assert loaded.config.address == ip_address("127.0.0.1")
    assert loaded.config.database_path == Path("conduit_data")
    assert loaded.config.allow_registration is False
    assert loaded.config.well_known == WellKnown("https://localhost", "localhost:443")


def test_guide_of_2021_is_understood_unchanged(tmp_path: Path) -> None:
    loaded = load(tmp_path, GUIDE_OF_2021)
    assert loaded.config.server_name == "alice.uber.space"
    assert loaded.config.database_path == Path("/home/alice/conduit_data")
    assert loaded.config.port == 6167
    assert loaded.config.max_request_size == 20_000_000
    assert loaded.config.allow_federation is True
    assert loaded.config.trusted_servers == ("matrix.org",)
    assert loaded.config.log == "info,state_res=warn,rocket=off,_=off,sled=off"
    assert loaded.config.workers == 4
    assert loaded.config.address == ip_address("127.0.0.1")
    assert loaded.config.proxy.rules == ()
    assert loaded.config.db_cache_capacity_mb == 100.0
    assert loaded.notes == []
    assert [warning.partition(": ")[2] for warning in loaded.warnings] == [
        "allow_registration is true and registration_token is not set: everybody can register",
    ]


def test_file_without_global_is_the_same_as_with_it(tmp_path: Path) -> None:
    with_table = config(tmp_path, '[global]\nserver_name = "a.test"\nport = 1\n[global.tls]\ncerts = "c"\nkey = "k"\n')
    without = config(tmp_path, 'server_name = "a.test"\nport = 1\n[tls]\ncerts = "c"\nkey = "k"\n')
    assert with_table == without
    assert with_table.tls == Tls(Path("c"), Path("k"))


def test_key_set_at_the_top_and_in_global_is_refused(tmp_path: Path) -> None:
    text = refusal(tmp_path, "port = 1\n\n[global]\nport = 2\n")
    assert "conduit.toml, line 4: port is set again, after" in text
    assert "conduit.toml, line 1" in text


def test_path_wins_over_the_variable_that_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 2\n")
    assert config(tmp_path, "port = 1\n", CONDUIT_CONFIG=str(tmp_path / "other.toml")).port == 1


def test_file_is_found_by_variable(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('server_name = "a.test"\n')
    loaded = load_config(None, {"CONDUIT_CONFIG": str(path)})
    assert (loaded.path, loaded.config.server_name) == (path, "a.test")


def test_empty_variable_names_no_file() -> None:
    assert load_config(None, {"CONDUIT_CONFIG": ""}).path is None


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("CONDUIT_PORT", "6167", "port", 6167),
        ("CONDUIT_SERVER_NAME", "a.test", "server_name", "a.test"),
        ("CONDUIT_SERVER_NAME", '"a.test"', "server_name", "a.test"),
        ("CONDUIT_REGISTRATION_TOKEN", "0123", "registration_token", "0123"),
        ("CONDUIT_REGISTRATION_TOKEN", "true", "registration_token", "true"),
        ("CONDUIT_TRUSTED_SERVERS", '["a.test", "b.test"]', "trusted_servers", ("a.test", "b.test")),
        ("CONDUIT_ALLOW_FEDERATION", "true", "allow_federation", True),
        ("CONDUIT_DEFAULT_ROOM_VERSION", "10", "default_room_version", "10"),
        ("CONDUIT_ACCESS_TOKEN_TTL", "7d", "access_token_ttl", 604_800),
        ("CONDUIT_WELL_KNOWN__CLIENT", "https://c.test", "well_known", WellKnown("https://c.test", "localhost:443")),
        ("CONDUIT_WELL_KNOWN_CLIENT", "https://c.test", "well_known", WellKnown("https://c.test", "localhost:443")),
        ("CONDUIT_TLS", '{ certs = "c", key = "k" }', "tls", Tls(Path("c"), Path("k"))),
        ("CONDUIT_PORT", "", "port", 8000),
    ],
)
def test_variable_sets_a_key(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(load_config(None, {variable: text}).config, field) == value


def test_variable_wins_over_the_file(tmp_path: Path) -> None:
    assert config(tmp_path, "[global]\nport = 1\nworkers = 3\n", CONDUIT_PORT="2").port == 2


def test_wrong_value_names_key_line_found_and_expected(tmp_path: Path) -> None:
    text = refusal(tmp_path, '# a comment\n[global]\nallow_federation = true\nport = "abc"\n')
    assert text == 'conduit.toml, line 4: port is "abc"; expected a whole number from 0 to 65535'


def test_wrong_value_names_its_variable() -> None:
    with pytest.raises(ConfigError, match=r'^CONDUIT_PORT: port is "abc"; expected a whole number'):
        load_config(None, {"CONDUIT_PORT": "abc"})


def test_line_is_found_in_a_table_far_from_its_parent(tmp_path: Path) -> None:
    text = refusal(tmp_path, "[global]\nport = 1\n[unknown]\nx = 1\n[global.turn]\nuris = [\n 'a',\n]\nttl = -1\n")
    assert text.startswith("conduit.toml, line 9: turn.ttl is -1; expected a time")


def test_line_of_a_part_of_a_list_of_tables(tmp_path: Path) -> None:
    text = refusal(
        tmp_path,
        '[[global.media.retention]]\nscope = "local"\naccessed = "1y"\n\n'
        '[[global.media.retention]]\nscope = "remote"\ncreated = "3 fortnights"\n',
    )
    assert text.startswith('conduit.toml, line 7: media.retention[1].created is "3 fortnights"; expected a time')


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, 'port = 70000\nallow_federation = "yes"\n', CONDUIT_WORKERS="0")
    assert [problem.key for problem in caught.value.problems] == ["port", "workers", "allow_federation"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[global]\nport = \n", "conduit.toml, line 2, column 8: Unexpected character"),
        ("port = 1\nport = 2\n", 'conduit.toml, line 2, column 1: Key "port" already exists'),
        ("[global\n", "conduit.toml, line 1, column "),
    ],
)
def test_syntax_error_names_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    assert refusal(tmp_path, text).startswith(place)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "conduit.toml"
    path.write_bytes(b"port = 1\nlog = '\xff'\n")
    with pytest.raises(ConfigError, match="line 2: is not UTF-8 text"):
        load_config(path, {})


def test_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("prot = 1", "there is no key prot (did you mean port?)"),
        ("tls.cert = 'a'", "there is no key tls.cert (did you mean tls.certs?)"),
        ("well_knwon.client = 'a'", "there is no key well_knwon (did you mean well_known?)"),
        ("uris = []", "there is no key uris (did you mean turn.uris?)"),
        ("zzzzzz = 1", "there is no key zzzzzz; it is passed over"),
    ],
)
def test_unknown_key_warns_with_the_nearest(tmp_path: Path, line: str, near: str) -> None:
    loaded = load(tmp_path, f'[global]\nserver_name = "a.test"\n{line}\n')
    assert len(loaded.warnings) == 1
    assert loaded.warnings[0].startswith(f"{tmp_path}/conduit.toml, line 3: {near}")


def test_unknown_variable_warns() -> None:
    assert load_config(None, {"CONDUIT_PROT": "1", "PATH": "/bin"}).warnings == [
        "CONDUIT_PROT: there is no key prot (did you mean port?); it is passed over"
    ]


@pytest.mark.parametrize("name", [pattern.replace("*", "max_open_files") for pattern in MEANINGLESS])
def test_key_that_means_nothing_here_is_noted(tmp_path: Path, name: str) -> None:
    loaded = load(tmp_path, f'server_name = "a.test"\n{name} = 1\n')
    assert loaded.warnings == []
    assert len(loaded.notes) == 1
    assert f"line 2: {name} has no effect: " in loaded.notes[0]


def test_old_turn_keys_become_a_turn_server(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'server_name = "a.test"\nturn_uris = ["turn:t.test"]\nturn_secret = "s"\nturn_ttl = 60\n')
    assert loaded.config.turn == Turn(("turn:t.test",), 60, loaded.config.turn.secret, None, None)  # type: ignore[union-attr]
    assert [note.partition(": ")[2] for note in loaded.notes] == [
        f"{old} is now called {RENAMED[old]}" for old in ("turn_uris", "turn_secret", "turn_ttl")
    ]


def test_new_name_wins_over_the_old_one(tmp_path: Path) -> None:
    text = 'turn_ttl = 60\n[turn]\nuris = ["turn:t.test"]\nttl = 70\nusername = "u"\npassword = "p"\n'
    turn = config(tmp_path, text).turn
    assert turn is not None
    assert (turn.ttl, turn.username, turn.password) == (70, "u", "p")


def test_turn_server_without_a_login_is_left_out_with_a_warning(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'server_name = "a.test"\n[turn]\nuris = ["turn:t.test"]\nusername = "u"\n')
    assert loaded.config.turn is None
    assert [warning.partition(": ")[2] for warning in loaded.warnings] == [
        "turn.uris has no effect without turn.secret, or turn.username and turn.password"
    ]


def test_file_without_a_server_name_warns(tmp_path: Path) -> None:
    assert load(tmp_path, "port = 1\n").warnings == [
        f'{tmp_path}/conduit.toml: server_name is not set, so it is "localhost"'
    ]


def test_registration_token_without_registration_warns(tmp_path: Path) -> None:
    warnings = load(tmp_path, 'server_name = "a.test"\nregistration_token = "s3cret"\n').warnings
    assert len(warnings) == 1
    assert "line 2: registration_token has no effect" in warnings[0]
    assert "s3cret" not in warnings[0]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('media.backend = "s3"', 'media.backend is "s3"; media cannot be kept in an S3 bucket yet'),
        ('jwt_secret = "s3cret"', "jwt_secret is (hidden); logging in with JSON web tokens is not there yet"),
        ("tracing_flame = true", "tracing_flame is true; writing profiles for flame graphs is not there yet"),
    ],
)
def test_feature_that_comes_later_is_refused(tmp_path: Path, line: str, sentence: str) -> None:
    assert refusal(tmp_path, f"port = 1\n{line}\n").startswith(f"conduit.toml, line 2: {sentence}")


def test_tracing_without_its_extra_is_refused_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.config.load.find_spec", lambda name: None)
    sentence = refusal(tmp_path, "port = 1\nallow_jaeger = true\n")
    assert sentence.startswith("conduit.toml, line 2: allow_jaeger is true; it needs what pip install")
    assert "'conduit_py[tracing]'" in sentence


@pytest.mark.parametrize(
    "line", ['media.backend = "filesystem"', 'jwt_secret = ""', "allow_jaeger = false", "tracing_flame = false"]
)
def test_feature_that_comes_later_may_be_off(tmp_path: Path, line: str) -> None:
    default = load_config(None, {}).config
    assert config(tmp_path, line) == default


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('tls.certs = "c"', "line 1: tls.key is not set; expected a path, because tls.certs is set"),
        ('tls.key = "k"', "line 1: tls.certs is not set; expected a path, because tls.key is set"),
        ("tls = 4", "line 1: tls is 4; expected a table such as [global.tls]"),
        ('turn = "s3cret"', "line 1: turn is (hidden); expected a table such as [global.turn]"),
        (
            "typing_client_timeout_min = 60",
            "line 1: typing_client_timeout_min is 60; expected at most typing_client_timeout_max = 45",
        ),
        (
            "client_sync_timeout_default = 100_000",
            "line 1: client_sync_timeout_default is 100000; expected at most client_sync_timeout_max = 90000",
        ),
        (
            "presence_offline_timeout = 60",
            "line 1: presence_offline_timeout is 60; expected at least presence_idle_timeout = 300",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    assert refusal(tmp_path, text) == f"conduit.toml, {sentence}"


@pytest.mark.parametrize("value", ["12", "['s3cret']", "{ a = 's3cret' }", "true"])
def test_wrong_secret_is_not_shown(tmp_path: Path, value: str) -> None:
    text = refusal(tmp_path, f"registration_token = {value}\n")
    assert "s3cret" not in text
    assert "12" not in text


def test_proxy_url_with_a_password_is_not_shown(tmp_path: Path) -> None:
    assert "s3cret" not in refusal(tmp_path, 'proxy.global.url = "gopher://u:s3cret@h:1"\n')


def test_description_has_every_setting_and_no_secret(tmp_path: Path) -> None:
    loaded: Config = config(
        tmp_path,
        'server_name = "a.test"\nallow_registration = true\nregistration_token = "s3cret"\n'
        'proxy.global.url = "socks5://u:s3cret@h:1"\nunix_socket_path = "/run/c"\n'
        '[turn]\nuris = ["turn:t.test"]\nsecret = "s3cret"\n',
    )
    text = loaded.describe()
    assert "s3cret" not in text
    assert "s3cret" not in repr(loaded)
    lines = text.splitlines()
    assert 'server_name = "a.test"' in lines
    assert "allow_registration = true" in lines
    assert "registration_token = (hidden)" in lines
    assert "turn.secret = (hidden)" in lines
    assert 'turn.uris = ["turn:t.test"]' in lines
    assert "proxy.rules = [{url = (hidden), include = [], exclude = []}]" in lines
    assert "unix_socket_perms = 660" in lines
    assert "access_token_ttl = (not set)" in lines
    assert 'well_known.server = "a.test:443"' in lines


@pytest.mark.parametrize(
    ("server_name", "server"),
    [("a.test", "a.test:443"), ("a.test:8448", "a.test:8448"), ("[::1]", "[::1]:443"), ("[::1]:1", "[::1]:1")],
)
def test_well_known_server_has_a_port(tmp_path: Path, server_name: str, server: str) -> None:
    assert config(tmp_path, f'server_name = "{server_name}"').well_known.server == server


def test_media_lie_in_the_database_path_unless_told_otherwise(tmp_path: Path) -> None:
    assert config(tmp_path, 'database_path = "/d"').media.path == Path("/d/media")
    assert config(tmp_path, 'database_path = "/d"\nmedia.path = "/m"').media.path == Path("/m")
