"""Commands about application services: bridges and bots that have users of their own."""

from __future__ import annotations

import click

from conduit_py.service.admin.commands import Answer, Call, SecretBodyCommand
from conduit_py.service.admin.words import plural, table
from conduit_py.service.appservices.registrations import AppServiceRegistrations


def build_appservice_commands(registrations: AppServiceRegistrations) -> tuple[click.Command, ...]:
    @click.command("register-appservice", cls=SecretBodyCommand)
    @click.pass_obj
    async def register_appservice(call: Call) -> Answer:
        """Register an application service, with its registration in YAML in the code block.

        It works at once, and is kept. There are secrets in a registration: in the Admin Room your message is removed,
        so the command line, or a file that appservices in the configuration names, is the better place.
        """
        registration = await registrations.register(call.require_body("The registration"))
        return Answer(text=f"The application service {registration.id} is registered.")

    @click.command("unregister-appservice")
    @click.argument("appservice_id")
    async def unregister_appservice(appservice_id: str) -> Answer:
        """End what register-appservice began. Its users and rooms stay."""
        await registrations.unregister(appservice_id)
        return Answer(text=f"{appservice_id} is no application service any more.")

    @click.command("list-appservices")
    async def list_appservices() -> Answer:
        """List the application services, and where each is reached."""
        rows = [
            (it.id, it.url or "wants to hear of nothing", "by command" if is_kept else "by a file")
            for it, is_kept in registrations.scan()
        ]
        found = f"Found {plural(len(rows), 'application service')}"
        return Answer(text=f"{found}:\n{table(rows)}" if rows else f"{found}.", is_table=bool(rows))

    return register_appservice, unregister_appservice, list_appservices
