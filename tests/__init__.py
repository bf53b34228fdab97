"""The tests. Importing them lets Python keep what it compiles, whatever the environment says.

A run starts the server hundreds of times, and each start would compile it all again: half of what a start costs.
"""

from __future__ import annotations

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
