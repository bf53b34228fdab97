"""Watching the server while it runs, for the person who operates it.

``requests`` tells where the time of a request goes, and ``otlp`` exports it as traces; ``loop`` notices when the event
loop stands still and says what held it up; ``seldom`` keeps a complaint that comes often from filling the log. Numbers
are in ``conduit_py.metrics``, lines in ``conduit_py.log``.
"""
