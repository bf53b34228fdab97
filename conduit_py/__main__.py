"""Where the program begins."""

from __future__ import annotations

from conduit_py.commands import main

if __name__ == "__main__":
    main(prog_name="conduit_py")
