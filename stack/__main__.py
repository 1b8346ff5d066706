"""python -m stack up | down | status | logs | wipe | fetch | demo"""

import argparse
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from contract.errors import LookalikeError
from contract.settings import Settings, load_settings
from stack import groups
from stack.jars import SERVERS, jars
from stack.programs import told_stalled
from stack.state import GroupState, read_state

_EXAMPLE = """example:
  python -m stack up && python -m stack status
  LOOKALIKE_VAR_DIR=var/second LOOKALIKE_API_PORT=8001 … python -m stack up --only servers
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 3 not running (status), 130 stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    # All that is asked here is on this machine, which a proxy of the environment knows nothing of.
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    try:
        status: int = options.run(load_settings(), options)
        return status
    except LookalikeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stack",
        description="Kafka, Cassandra and our own processes on this machine, without Docker.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, run, summary in (
        ("up", _up, "start what is not running; returns when all of it is ready"),
        ("down", _down, "stop everything, last started first; data stay"),
        ("status", _status, "show every process with its state, pid, ports and log file"),
        ("logs", _logs, "show the end of the log files"),
        (
            "wipe",
            _wipe,
            "delete Kafka's and Cassandra's data, the indexes, and what is known of published folders; only while nothing runs",
        ),
        ("fetch", _fetch, "fetch the servers' jars and check them; `up` does so by itself"),
        ("demo", _demo, "the whole pipeline with a folder of pictures, or with MNIST digits, until Ctrl-C"),
        ("supervise", _supervise, "keep one group running in the foreground; `up` uses this"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.set_defaults(run=run)
        if name in ("up", "down"):
            verb.add_argument(
                "--only",
                choices=groups.GROUPS,
                help="only Kafka and Cassandra, only our own processes, or only those of LOOKALIKE_NEXT_ENCODER",
            )
        elif name == "logs":
            verb.add_argument("name", nargs="?", help="kafka, cassandra, embedder, indexer, api …; all when left out")
            verb.add_argument("-f", "--follow", action="store_true", help="keep showing what is added")
        elif name == "demo":
            verb.add_argument(
                "--images", type=int, default=10_000, help="MNIST training images to publish (1 to 60000)"
            )
            verb.add_argument(
                "--folder", metavar="PATH", help="publish the pictures in it instead, with the photo encoder"
            )
            verb.add_argument("--exit", action="store_true", help="end after the searches")
        elif name == "supervise":
            verb.add_argument("group", choices=groups.GROUPS)
            verb.add_argument("--tied", type=int, metavar="PID", help="end when this parent process ends")
    return parser


def _up(settings: Settings, options: argparse.Namespace) -> int:
    chosen = (options.only,) if options.only else groups.wanted(settings)
    for group in chosen:
        started = groups.up(settings, group)
        name = groups.TITLES[group]
        print(f"The {name} are ready." if started else f"The {name} were running already.", flush=True)
    if "programs" in chosen:
        print(f"Page: {settings.api_address}/")
    return 0


def _down(settings: Settings, options: argparse.Namespace) -> int:
    for group in (options.only,) if options.only else reversed(groups.GROUPS):
        stopped = groups.down(settings, group)
        if group == "next" and not stopped and not options.only:
            continue
        name = groups.TITLES[group]
        print(f"The {name} are stopped." if stopped else f"The {name} were not running.", flush=True)
    return 0


def _status(settings: Settings, _options: argparse.Namespace) -> int:
    states = [state for group in groups.GROUPS if (state := read_state(settings, group)) is not None]
    if not states:
        print("Nothing is running. Start it: python -m stack up")
        return 3
    print(f"{'PROCESS':<12}{'STATE':<20}{'PID':>8}  {'RESTARTS':>8}  {'PORTS':<18} LOG")
    for state in states:
        for process in state.processes:
            ports = ",".join(map(str, process.ports.values())) or "-"
            shown = process.state if state.is_running else "supervisor is gone"
            pid = process.pid or "-"
            print(f"{process.name:<12}{shown:<20}{pid:>8}  {process.restarts:>8}  {ports:<18} {_short(process.log)}")
            if process.error:
                print(f"  {process.name} ends with the same error again and again: {process.error}")
        if state.failure:
            print(f"The {state.group} could not be started: {state.failure}")
    if stalled := told_stalled(settings.api_address):
        print(stalled)
    return 0 if all(state.is_ready for state in states) else 1


def _logs(settings: Settings, options: argparse.Namespace) -> int:
    folder = settings.var_dir.resolve() / "logs"
    files = sorted(folder.glob(f"{options.name or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        print(
            f"error: there is no log of {options.name or 'anything'} in {folder}. There are: {known}", file=sys.stderr
        )
        return 1
    return subprocess.run(
        ["tail", "-n", "40", *(["-F"] if options.follow else []), *map(str, files)], check=False
    ).returncode


def _wipe(settings: Settings, _options: argparse.Namespace) -> int:
    if any(_is_alive(read_state(settings, group)) for group in groups.GROUPS):
        print("error: the stack is running. Stop it first: python -m stack down", file=sys.stderr)
        return 1
    for folder in (
        *(settings.var_dir / name for name in ("kafka", "cassandra", "demo", "folders")),
        settings.index_dir,
    ):
        if folder.exists():
            shutil.rmtree(folder)
            print(f"Deleted {folder}")
    return 0


def _fetch(_settings: Settings, _options: argparse.Namespace) -> int:
    for server in SERVERS:
        print(f"{server}: {jars(server)}")
    return 0


def _demo(settings: Settings, options: argparse.Namespace) -> int:
    from stack.demo import demo
    from stack.demo_folder import demo_folder

    if options.folder is not None:
        return demo_folder(settings, options.folder, ends=options.exit)
    return demo(settings, images=options.images, ends=options.exit)


def _supervise(settings: Settings, options: argparse.Namespace) -> int:
    return groups.supervise(settings, options.group, options.tied)


def _is_alive(state: GroupState | None) -> bool:
    """Whether the supervisor or any process of it still lives."""
    from stack.process import is_alive

    return state is not None and (
        state.is_running or any(is_alive(process.pid, process.started_at) for process in state.processes)
    )


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


if __name__ == "__main__":
    sys.exit(main())
