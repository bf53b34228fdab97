"""The kind of value that is the registration file of an application service.

Spec: application-service-api/#registration
"""

from __future__ import annotations

from conduit_py.config.kinds import PATH, Kind, Unfit
from conduit_py.matrix.appservices import Registration, parse_registration
from conduit_py.matrix.ids import Malformed

FILE_BYTES_MAX = 1_000_000
_EXPECTED = "the path of an application service's registration file"


def _read_registration(value: object) -> Registration:
    # Few servers have any, and the others need not wait for it at their start.
    import yaml

    path = PATH.read(value)
    try:
        with open(str(path), "rb") as file:
            document = yaml.safe_load(file.read(FILE_BYTES_MAX))
        return parse_registration(document)
    except OSError as error:
        raise Unfit(f"{_EXPECTED} ({error.strerror})", value) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise Unfit(f"{_EXPECTED}, which is YAML", value) from None
    except Malformed as error:
        raise Unfit(f"{_EXPECTED}, in which {error}", value) from None


REGISTRATION = Kind(_EXPECTED, _read_registration, is_text=True)
