"""Commands about who may make an account."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from conduit_py.service.admin.commands import Answer
from conduit_py.service.admin.words import parse_duration, plural
from conduit_py.service.users.registration_gate import RegistrationGate
from conduit_py.service.users.registration_tokens import RegistrationTokenService
from conduit_py.service.users.store import Store
from kvschema.catalog.users import RegistrationToken


def build_registration_commands(
    store: Store, gate: RegistrationGate, tokens: RegistrationTokenService
) -> tuple[click.Command, ...]:

    @click.command("allow-registration")
    @click.argument("status", required=False, type=bool)
    async def allow_registration(status: bool | None) -> Answer:
        """Open or close registration, or tell how it is.

        STATUS is true or false. Closing is kept over restarts until it is taken back here. Opening lasts until the
        server is restarted, unless the configuration has allow_registration = true.
        """
        if status is not None:
            await gate.set(is_open=status)
        return Answer(text=_describe(gate))

    @click.command("create-registration-token")
    @click.argument("token", required=False)
    @click.option("--uses", type=click.IntRange(min=1), help="How many accounts it makes. Default: as many as wanted.")
    @click.option(
        "--expires", metavar="DURATION", help="For how long it is good, such as 12h or 7d. Default: for ever."
    )
    async def create_registration_token(token: str | None, uses: int | None, expires: str | None) -> Answer:
        """Make a token with which people register, also while registration is closed.

        Without a TOKEN one is made up.
        """
        expires_ms = 0 if expires is None else store.now_ms() + parse_duration(expires) * 1000
        made = await tokens.create(token, uses_max=uses, expires_ms=expires_ms)
        row = tokens.get_tokens()[made]
        return Answer(text=f"Whoever registers with this token gets an account:\n{made}  {_tell(row, store.now_ms())}")

    @click.command("list-registration-tokens")
    async def list_registration_tokens() -> Answer:
        """List the tokens with which people register."""
        found = tokens.get_tokens()
        lines = [f"{token}  {_tell(row, store.now_ms())}" for token, row in found.items()]
        return Answer(text="\n".join([f"Found {plural(len(lines), 'registration token')}:", *lines]), is_table=True)

    @click.command("revoke-registration-token")
    @click.argument("token")
    async def revoke_registration_token(token: str) -> Answer:
        """Make a token worthless. Accounts that were made with it stay."""
        await tokens.delete(token)
        return Answer(text="Nobody can register with this token any more.")

    return allow_registration, create_registration_token, list_registration_tokens, revoke_registration_token


def _describe(gate: RegistrationGate) -> str:
    if gate.is_closed:
        return "Registration is closed, and stays so when the server is restarted. Tokens made here still work."
    if gate.asks_token:
        return "Registration is open to whoever has the token of the configuration."
    if gate.is_configured_open:
        return "Registration is open to everybody."
    if gate.is_open:
        return (
            "Registration is open to everybody until the server is restarted. "
            "With allow_registration = true in the configuration it stays open."
        )
    return "Registration is closed by the configuration. Tokens made here still work."


def _tell(row: RegistrationToken, now_ms: int) -> str:
    used = plural(row.uses, "account") if row.uses_max is None else f"{row.uses} of {plural(row.uses_max, 'account')}"
    if not row.expires_ms:
        return used
    at = datetime.fromtimestamp(row.expires_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{used}, {'expired' if row.expires_ms <= now_ms else 'until'} {at}"
