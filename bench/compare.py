"""Compare homeservers, or versions of ours, over the client-server API.

    python -m bench.compare                      # Synapse (set up from PyPI), then this checkout
    python -m bench.compare ours@main ours       # what the changes of this checkout did
    python -m bench.compare --help

Runs the servers in turn, A B A B, each time from an empty directory. bench/README.md says how to read the results.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bench.driver import picture, report
from bench.driver.load import Limits
from bench.driver.process import Memory, read_memory, wait_calm
from bench.driver.report import Round
from bench.driver.scene import RESIDENTS, build_scene
from bench.driver.selftest import DRIVER_US_MAX, measure_driver
from bench.driver.wire import DriverError, Unrecognized
from bench.driver.workloads import WORKLOADS, Stage, Workload
from bench.servers import Running, Server, default_cache, prepare_server

KEYS: Final = [workload.key for workload in WORKLOADS]
COUNT_MAX: Final = 200_000
WORK_S_MAX: Final = 600.0
"""For one workload that is counted and not timed."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare homeservers over the client-server API.",
        epilog="A server: ours, ours@REF, ours:PATH, synapse, synapse@VERSION, or "
        "http://127.0.0.1:PORT[?pid=N[&users=FILE]] for one that runs. Workloads: " + ", ".join(KEYS),
    )
    parser.add_argument("servers", nargs="*", default=["synapse", "ours"], help="the first is what ratios are to")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each server (default: 2)")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured for each workload (default: 4)")
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before that, not measured (default: 1)")
    parser.add_argument("--readers", type=int, default=4, choices=range(1, RESIDENTS + 1), help="default: 4")
    parser.add_argument("--only", metavar="KEYS", help="workloads to run, separated by commas")
    parser.add_argument("--room-version", default="12", help='for all rooms; "" leaves it to the server (default: 12)')
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where servers are set up")
    parser.add_argument("--directory", type=Path, help="where servers keep their data while they run: on a real disk")
    parser.add_argument("--json", type=Path, help="write everything that was measured")
    parser.add_argument("--picture", type=Path, help="write bars as SVG")
    return parser.parse_args()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What each round measures, and how."""

    keys: Sequence[str] = tuple(KEYS)
    seconds: float
    warm_s: float = 1.0
    readers: int = 4
    room_version: str | None = "12"
    """None: the server's own default."""
    is_work_counted: bool = False
    """Start each server once more, and read its memory after as many requests as the others had."""


def run_round(server: Server, plan: Plan, directory: Path) -> Round:
    """Start ``server`` with its data in the empty ``directory``, measure, stop it."""
    with server.start(directory) as running:
        result = Round(running.start_s)
        result.memory_idle = calm_memory(running)
        scene = build_scene(running.address, running.take_accounts(), room_version=plan.room_version)
        result.memory_scene = calm_memory(running)
        limits = Limits(seconds=plan.seconds, warm_s=plan.warm_s, count_max=COUNT_MAX)
        stage = Stage(scene=scene, limits=limits, readers=plan.readers, gauges=running.gauges)
        for workload in WORKLOADS:
            if workload.key in plan.keys:
                run_workload(workload, stage, result)
        result.memory_after = calm_memory(running)
    return result


def run_work(server: Server, plan: Plan, directory: Path, result: Round) -> None:
    """The workloads that ``server`` knows once more, each until so many requests are answered, for its memory."""
    progress("  the same work for every server:")
    with server.start(directory) as running:
        scene = build_scene(running.address, running.take_accounts(), room_version=plan.room_version)
        counted = Round(running.start_s)
        for workload in WORKLOADS:
            if workload.key in result.measures:
                limits = Limits(seconds=WORK_S_MAX, warm_s=0.0, count_max=workload.work)
                stage = Stage(scene=scene, limits=limits, readers=plan.readers, gauges=running.gauges)
                run_workload(workload, stage, counted)
        result.failed.update(counted.failed)
        result.memory_worked = calm_memory(running)


def calm_memory(running: Running) -> Memory | None:
    pid = running.gauges.pid
    if pid is None:
        return None
    wait_calm(pid)
    return read_memory(pid)


def run_workload(workload: Workload, stage: Stage, result: Round) -> None:
    try:
        measure = workload.measure(stage)
    except Unrecognized as missing:
        result.skipped[workload.key] = str(missing)
        progress(f"  {workload.title}: skipped, {missing}")
    except (DriverError, KeyError, ValueError, TypeError) as wrong:
        result.failed[workload.key] = f"{type(wrong).__name__}: {wrong}"
        progress(f"  {workload.title}: FAILED, {wrong}")
    else:
        result.measures[workload.key] = measure
        progress(f"  {workload.title}: {report.digits(measure.value)} {workload.unit}")


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def machine(directory: Path) -> dict[str, Any]:
    fields = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    models = [value.strip() for name, _, value in fields if name.strip() == "model name"]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": filesystem_of(directory),
        "load_average": os.getloadavg()[0],
    }


def filesystem_of(path: Path) -> str:
    """The type of the file system that ``path`` is on: on a tmpfs, what is measured is no disk."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [mount for mount in mounts if path.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2]


def label(servers: Sequence[Server]) -> list[str]:
    """Names for the table; the second of two that are named alike gets a number."""
    names = [server.name for server in servers]
    return [f"{name} #{names[:at].count(name) + 1}" if name in names[:at] else name for at, name in enumerate(names)]


def run_all(servers: Mapping[str, Server], plan: Plan, *, count: int, parent: Path | None) -> dict[str, list[Round]]:
    """``count`` rounds of each, in turn, each in a new directory under ``parent``."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server is stopped on the way out
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    for number in range(count):
        for name, server in servers.items():
            progress(f"round {number + 1} of {count}: {name}")
            with tempfile.TemporaryDirectory(prefix="conduit_py-bench-", dir=parent) as directory:
                rounds[name].append(run_round(server, plan, Path(directory)))
            if plan.is_work_counted:
                with tempfile.TemporaryDirectory(prefix="conduit_py-bench-", dir=parent) as directory:
                    run_work(server, plan, Path(directory), rounds[name][-1])
    return rounds


def main() -> None:
    options = arguments()
    keys = options.only.split(",") if options.only else KEYS
    if unknown := set(keys) - set(KEYS):
        sys.exit(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(KEYS)}")
    plan = Plan(
        keys=keys,
        seconds=options.seconds,
        warm_s=options.warm,
        readers=options.readers,
        room_version=options.room_version or None,
        is_work_counted=True,
    )
    about: dict[str, Any] = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(options.directory or Path(tempfile.gettempdir())),
        "plan": {**asdict(plan), "rounds": options.rounds},
    }
    try:
        prepared = [prepare_server(name, options.cache) for name in options.servers]
        servers = dict(zip(label(prepared), prepared, strict=True))
        about["versions"] = {name: server.version for name, server in servers.items()}
        about["driver_us"] = driver_us = measure_driver(clients=1, seconds=1.0)[0]
        progress(f"the driver costs {driver_us:.0f} us a request (limit {DRIVER_US_MAX:.0f})")
        rounds = run_all(servers, plan, count=options.rounds, parent=options.directory)
    except (DriverError, OSError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    lines = {name: report.summarize(of_server, keys) for name, of_server in rounds.items()}
    where = about["machine"]
    print(f"{where['cpu']}, {where['cores']} cores, {where['filesystem']}; {options.rounds} rounds; versions:", end=" ")
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()), end="\n\n")
    print(report.table(lines))
    if options.json:
        document = report.document(lines, rounds, about)
        options.json.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if options.picture:
        options.picture.write_text(picture.draw(lines, " and ".join(servers)))
    sys.exit(any(each.failed for of_server in rounds.values() for each in of_server))


if __name__ == "__main__":
    main()
