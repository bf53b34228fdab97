"""What a client is told about the exceptions of the layers below."""

from __future__ import annotations

from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.push.ruleset import PushRuleError, RuleNotFound
from conduit_py.matrix.push.ruleset import TooLarge as PushRuleTooLarge
from conduit_py.service.errors import InvalidParam, MatrixError, NoSpace
from kvschema.errors import StorageFull


def translate(error: Exception) -> MatrixError | None:
    """The refusal that ``error`` means to a client; None if it means that we made a mistake."""
    match error:
        case StorageFull():
            return NoSpace("The server is out of disk space: nothing was stored")
        case Malformed():
            errcode = getattr(error, "errcode", None)
            return InvalidParam(f"Malformed: {error}", errcode=None if errcode is None else str(errcode))
        case PushRuleError():
            status = 404 if isinstance(error, RuleNotFound) else 413 if isinstance(error, PushRuleTooLarge) else 400
            return MatrixError(str(error), errcode=error.errcode, status=status)
        case _:
            return None
