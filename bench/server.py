"""Measure our server in a temporary directory: sends, long-poll fan-out, initial and incremental sync.

    python -m bench.server [--seconds 4] [--only KEYS] [--server ours@REF]

A quick look at one server; ``bench.compare`` is for comparing. bench/README.md says how to read the results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from bench.compare import KEYS, Plan, run_all
from bench.driver import report
from bench.driver.wire import DriverError
from bench.servers import default_cache, prepare_server

DEFAULT_KEYS: Final = ("send1", "send16", "send64", "fanout", "sync", "initial")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure our server in a temporary directory.")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured for each workload (default: 4)")
    parser.add_argument("--only", default=",".join(DEFAULT_KEYS), help=f"workloads, of {','.join(KEYS)}")
    parser.add_argument("--server", default="ours", help="as for bench.compare (default: ours)")
    parser.add_argument("--directory", type=Path, help="where it keeps its data while it runs: on a real disk")
    options = parser.parse_args()
    keys = options.only.split(",")
    if unknown := set(keys) - set(KEYS):
        sys.exit(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(KEYS)}")
    try:
        server = prepare_server(options.server, default_cache())
        plan = Plan(keys=keys, seconds=options.seconds)
        rounds = run_all({server.name: server}, plan, count=1, parent=options.directory)
    except (DriverError, OSError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(report.table({name: report.summarize(of_server, keys) for name, of_server in rounds.items()}))
    sys.exit(any(each.failed for of_server in rounds.values() for each in of_server))


if __name__ == "__main__":
    main()
