"""From the file and the environment to one `Config`: read every setting, then check what must fit together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from conduit_py.config.entry import Key
from conduit_py.config.errors import ConfigError, Problem
from conduit_py.config.keys import KEYS, TABLES
from conduit_py.config.kinds import Unfit
from conduit_py.config.model import (
    HIDDEN,
    S3,
    Backup,
    Config,
    Media,
    PasswordHash,
    RateLimit,
    RateLimits,
    Tls,
    Turn,
    WellKnown,
)
from conduit_py.config.odd_keys import MEANINGLESS, NOT_YET, RENAMED
from conduit_py.config.source import CONFIG_VARIABLE, Setting, Steps, environment_settings, file_settings, read_file
from conduit_py.matrix.appservices import Registration

_FOUND_CHARS_MAX = 60
"""Longer wrong values are cut in messages."""

Part = TypeVar("Part")
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """The configuration, where it was read, and what the operator should know about it.

    ``warnings`` are probably mistakes; ``notes`` are keys that are understood and have no effect.
    """

    config: Config
    path: Path | None
    warnings: list[str]
    notes: list[str]


def load_config(path: Path | None, environ: Mapping[str, str]) -> LoadedConfig:
    """Read the file at ``path``, or at ``CONDUIT_CONFIG``, or none; then the variables, which win over the file.

    Raises `ConfigError` with every problem that was found, each naming the key and its place.
    """
    path = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    reading = _Reading()
    if path is not None:
        file, content = read_file(path)
        reading.take(file_settings(file, content))
    reading.take(environment_settings(environ))
    values = reading.read_values()
    if path is not None and "server_name" not in reading.settings:
        reading.warnings.append(f'{path}: server_name is not set, so it is "{values["server_name"]}"')
    reading.check(values)
    if reading.problems:
        raise ConfigError(*reading.problems)
    return LoadedConfig(_compose(values), path, reading.warnings, reading.notes)


class _Reading:
    """The settings met so far, by key, and what there is to say about them."""

    def __init__(self) -> None:
        self.settings: dict[str, Setting] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def take(self, settings: Iterable[Setting]) -> None:
        """Sort out the settings of one source. A later source wins over this one."""
        taken: dict[str, Setting] = {}
        renamed: dict[str, Setting] = {}
        for setting in settings:
            if setting.name in RENAMED:
                self.notes.append(f"{setting.where()}: {setting.name} is now called {RENAMED[setting.name]}")
                renamed[RENAMED[setting.name]] = setting
            elif setting.name in KEYS:
                self._take_key(taken, setting)
            else:
                self._say_why_not(setting)
        self.settings |= {name: setting for name, setting in (renamed | taken).items() if not _is_unset(setting.value)}

    def _take_key(self, taken: dict[str, Setting], setting: Setting) -> None:
        first = taken.setdefault(setting.name, setting)
        if first is not setting:
            self.problems.append(
                Problem(setting.name, setting.where(), f"set again, after {first.where()}", "one place for it")
            )

    def _say_why_not(self, setting: Setting) -> None:
        name = setting.name
        reason = _find_reason(MEANINGLESS, name)
        if reason is not None:
            self.notes.append(f"{setting.where()}: {name} has no effect: {reason}")
        elif name in TABLES:
            if not _is_unset(setting.value):
                found = _shown(setting.value, hide=isinstance(setting.value, str))
                self.problems.append(Problem(name, setting.where(), found, f"a table such as [global.{name}]"))
        else:
            self.warnings.append(f"{setting.where()}: there is no key {name}{_nearest(name)}; it is passed over")

    def read_values(self) -> dict[str, Any]:
        """The value of every key, its default where it is not set or cannot be read."""
        return {name: self._read(key) for name, key in KEYS.items()}

    def _read(self, key: Key) -> object:
        default = None if key.default == "" else key.kind.read(key.default)
        setting = self.settings.get(key.name)
        if setting is None:
            return default
        value = setting.value
        if key.kind.is_text and setting.text is not None and not isinstance(value, str):
            value = setting.text  # A password of digits is still text.
        try:
            result = key.kind.read(value)
        except Unfit as unfit:
            found = _shown(unfit.found, hide=key.kind.is_secret)
            self.problems.append(Problem(key.name + _path(unfit.at), setting.where(unfit.at), found, unfit.expected))
            return default
        if key.name in NOT_YET and result != default:
            shown = _shown(value, hide=key.kind.is_secret)
            self.problems.append(Problem(key.name, setting.where(), shown, "", refusal=NOT_YET[key.name]))
        return result

    def check(self, values: Values) -> None:
        """What no key can know alone."""
        self._check_order(values, "typing_client_timeout_min", "typing_client_timeout_max")
        self._check_order(values, "client_sync_timeout_default", "client_sync_timeout_max")
        self._check_order(values, "presence_idle_timeout", "presence_offline_timeout")
        self._check_unique(values["appservices"], "id")
        self._check_unique(values["appservices"], "as_token")
        if values["allow_jaeger"] and not _has_module("opentelemetry.exporter.otlp.proto.http"):
            place = self.settings["allow_jaeger"].where()
            how = "it needs what pip install 'conduit_py[tracing]' installs; leave it out to start without"
            self.problems.append(Problem("allow_jaeger", place, "true", "", refusal=how))
        for one, other in (("tls.certs", "tls.key"), ("tls.key", "tls.certs")):
            if values[one] is not None and values[other] is None and one in self.settings:
                place = self.settings[one].where()
                self.problems.append(Problem(other, place, "not set", f"a path, because {one} is set"))
        if values["turn.uris"] and not _has_turn_login(values):
            place = self.settings["turn.uris"].where()
            self.warnings.append(
                f"{place}: turn.uris has no effect without turn.secret, or turn.username and turn.password"
            )
        if values["allow_registration"] and values["registration_token"] is None:
            place = self.settings["allow_registration"].where()
            self.warnings.append(
                f"{place}: allow_registration is true and registration_token is not set: everybody can register"
            )
        if values["registration_token"] is not None and not values["allow_registration"]:
            place = self.settings["registration_token"].where()
            self.warnings.append(f"{place}: registration_token has no effect while allow_registration is false")

    def _check_unique(self, registrations: Iterable[Registration], field: str) -> None:
        """Both name the application service. Spec: application-service-api/#registration"""
        known = [getattr(it, field) for it in registrations]
        if len(set(known)) < len(known):
            where = self.settings["appservices"].where()
            shown = f"two registrations with the same {field}"
            self.problems.append(Problem("appservices", where, shown, f"a different {field} for each"))

    def _check_order(self, values: Values, smaller: str, larger: str) -> None:
        if values[smaller] > values[larger]:
            blamed = smaller if smaller in self.settings else larger
            bound = (
                f"at most {larger} = {values[larger]}"
                if blamed == smaller
                else (f"at least {smaller} = {values[smaller]}")
            )
            self.problems.append(Problem(blamed, self.settings[blamed].where(), _shown(values[blamed]), bound))


def _has_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def _path(at: Steps) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)


def _is_unset(value: object) -> bool:
    """Empty text, and a list of nothing but empty text, as in ``trusted_servers = [""]``."""
    return value == "" or (isinstance(value, list) and bool(value) and all(item == "" for item in value))


def _find_reason(reasons: Mapping[str, str], name: str) -> str | None:
    return next((why for pattern, why in reasons.items() if fnmatchcase(name, pattern)), None)


def _nearest(name: str) -> str:
    last = name.rpartition(".")[2]
    by_last = {known.rpartition(".")[2]: known for known in KEYS}
    known = get_close_matches(name, [*KEYS, *TABLES, *RENAMED, *MEANINGLESS], n=1, cutoff=0.7)
    near = known or [by_last[match] for match in get_close_matches(last, by_last, n=1, cutoff=0.7)]
    return f" (did you mean {near[0]}?)" if near else ""


def _shown(value: object, *, hide: bool = False) -> str:
    match value:
        case list():
            return "a list"
        case dict():
            return "a table"
        case _ if hide:
            return HIDDEN
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"' if len(value) <= _FOUND_CHARS_MAX else f'"{value[:_FOUND_CHARS_MAX]}..."'
        case _:
            return str(value)


def _has_turn_login(values: Values) -> bool:
    return values["turn.secret"] is not None or None not in (values["turn.username"], values["turn.password"])


def _part(part: type[Part], values: Values, table: str, **made: object) -> Part:
    """One dataclass, each field from the key of its name in ``table``, or as ``made``."""
    names = [field.name for field in fields(part) if field.name not in made]  # type: ignore[arg-type]
    return part(**{name: values[f"{table}{name}"] for name in names}, **made)


def _compose(values: Values) -> Config:
    server_name = values["server_name"]
    limits = [field.name for field in fields(RateLimits) if field.name != "enabled"]
    rate_limits = {name: _part(RateLimit, values, f"rate_limits.{name}.") for name in limits}
    well_known = _part(
        WellKnown,
        values,
        "well_known.",
        client=values["well_known.client"] or f"https://{server_name}",
        server=values["well_known.server"] or _with_port(server_name),
    )
    has_turn = bool(values["turn.uris"]) and _has_turn_login(values)
    return _part(
        Config,
        values,
        "",
        tls=_part(Tls, values, "tls.") if values["tls.certs"] else None,
        well_known=well_known,
        password_hash=_part(PasswordHash, values, "password_hash."),
        rate_limits=_part(RateLimits, values, "rate_limits.", **rate_limits),
        backup=_part(Backup, values, "backup."),
        media=_compose_media(values),
        turn=_part(Turn, values, "turn.") if has_turn else None,
    )


def _compose_media(values: Values) -> Media:
    path = values["media.path"]
    if values["media.backend"] == "s3":
        s3 = _part(S3, values, "media.", path=None if path is None else str(path))
        return _part(Media, values, "media.", path=values["database_path"] / "media", s3=s3)
    return _part(Media, values, "media.", path=path or values["database_path"] / "media", s3=None)


def _with_port(server_name: str) -> str:
    has_port = ":" in server_name.rpartition("]")[2]
    return server_name if has_port else f"{server_name}:443"
