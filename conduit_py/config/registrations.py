"""The kind of value that is the registration file of an application service.

Spec: application-service-api/#registration
"""

from __future__ import annotations

from conduit_py.config.kinds import PATH, Kind, Unfit
from conduit_py.matrix.appservices import Registration, parse_registration
from conduit_py.matrix.ids import Malformed

FILE_BYTES_MAX = 1_000_000
_EXPECTED = "the path of an application service's registration file"


def parse_yaml_registration(text: bytes | str) -> Registration:
    """Raises ``Malformed``, and ``NotYaml``."""
    # Few servers have any, and the others need not wait for it at their start.
    import yaml

    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError):
        raise NotYaml from None
    return parse_registration(document)


class NotYaml(Exception):
    """The text is not even a document."""


def _read_registration(value: object) -> Registration:
    path = PATH.read(value)
    try:
        with open(str(path), "rb") as file:
            text = file.read(FILE_BYTES_MAX)
        return parse_yaml_registration(text)
    except OSError as error:
        raise Unfit(f"{_EXPECTED} ({error.strerror})", value) from None
    except NotYaml:
        raise Unfit(f"{_EXPECTED}, which is YAML", value) from None
    except Malformed as error:
        raise Unfit(f"{_EXPECTED}, in which {error}", value) from None


REGISTRATION = Kind(_EXPECTED, _read_registration, is_text=True)
