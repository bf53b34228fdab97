"""What the pages of ``docs/`` tell people to type, typed.

A fenced block says behind its language what is to be done with it; a reader of the page sees nothing of that:

``sh run``
    Run by bash in the page's own directory, which is also HOME. Each line must succeed. ``conduit_py`` is on the path.
``sh serve``
    Starts the server, which goes on while the blocks below are run, until the page ends or a ``sh stop`` comes.
``sh stop``
    Stands for however the reader stops it: the server is told to end, and must end with 0.
``sh by-hand: why``
    Not run, and why not: it needs root, another machine, a domain of one's own.
``text output``
    What the block before printed. Its lines must be found in that order; ``...`` stands for anything in a line.
``text admin``
    What an administrator types in the Admin Room: each line must be a command that there is, and take what follows.
``LANGUAGE file=NAME``
    The content of a file in the page's directory, for the blocks below.
``toml config``
    A piece of ``conduit.toml``: must be read without complaint. ``toml config file=NAME`` does both.

Blocks of one page are run in order. Ports of the pages, those in `PORTS`, are replaced by free ones, so a page that
serves has to name its port in its configuration.
"""
