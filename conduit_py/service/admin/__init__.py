"""Steering the server: the commands of its administrators, and where they are given.

A command is a ``click.Command`` whose callback is an ``async def`` that returns an ``Answer``. A module of commands
that belong together has a function ``build_<group>_commands(services it needs) -> tuple[click.Command, ...]``, and
``build.py`` hands the groups to the one ``Dispatcher``. Everybody who gives commands goes through it: the Admin Room,
and the socket that ``conduit_py admin`` talks to. So a command is the same in both places, but for secrets, which only
the command line is shown.
"""
