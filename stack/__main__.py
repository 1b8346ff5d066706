"""python -m stack up | down | status | logs | nodetool | wipe | fetch | demo"""

import argparse
import json
import shutil
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

from contract.errors import LookalikeError
from runtime.command_line import FAILED, NOT_RUNNING, Program, Run, Verb, run_program

if TYPE_CHECKING:
    from contract.settings import Settings
    from stack.state import GroupState

_EXAMPLE = """example:
  python -m stack up && python -m stack status
  LOOKALIKE_VAR_DIR=var/second LOOKALIKE_API_PORT=8001 … python -m stack up --only servers
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 3 not running (status), 130 stopped by Ctrl-C."""
    program = Program(
        prog="python -m stack",
        description="Kafka, Cassandra and our own processes on this machine, without Docker.",
        epilog=_EXAMPLE,
        verbs=(*VERBS, SUPERVISE, GRANT),
    )
    return run_program(program, arguments)


def _add_only(verb: argparse.ArgumentParser) -> None:
    from stack.groups import GROUPS

    verb.add_argument(
        "--only",
        choices=GROUPS,
        help="only Kafka and Cassandra, only our own processes, or only those of LOOKALIKE_NEXT_ENCODER",
    )


def _add_up(up: argparse.ArgumentParser) -> None:
    from contract.settings import PREFIX

    _add_only(up)
    up.add_argument(
        "--nodes",
        type=int,
        choices=(1, 3),
        help=f"how many Kafka brokers, and how many Cassandra nodes; {PREFIX}STACK_NODES unless given",
    )


def _add_nodetool(nodetool: argparse.ArgumentParser) -> None:
    nodetool.add_argument("--node", type=int, default=1, help="number of the node that is told (default: 1)")
    nodetool.add_argument("words", nargs=argparse.REMAINDER, help="what nodetool takes: status, repair KEYSPACE …")


def _add_status(status: argparse.ArgumentParser) -> None:
    status.add_argument("--json", action="store_true", help="print every process's state as JSON")


def _add_logs(logs: argparse.ArgumentParser) -> None:
    logs.add_argument("name", nargs="?", help="kafka, cassandra, embedder, indexer, api …; all when left out")
    logs.add_argument("-f", "--follow", action="store_true", help="keep showing what is added")


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument(
        "--images", type=int, default=10_000, help="MNIST training images to publish (1 to 60000; with --folder also 0)"
    )
    demo.add_argument(
        "--folder", metavar="PATH", help="publish the pictures in it first, into a collection of their own"
    )
    demo.add_argument("--exit", action="store_true", help="end after the searches")


def _add_supervise(supervise: argparse.ArgumentParser) -> None:
    from stack.groups import GROUPS

    supervise.add_argument("group", choices=GROUPS)
    supervise.add_argument("--tied", type=int, metavar="PID", help="end when this parent process ends")


def _on_this_machine(run: Run) -> Run:
    """The verb, whose questions go to this machine, which a proxy of the environment knows nothing of."""

    def run_directly(settings: "Settings", options: argparse.Namespace) -> int:
        urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
        return run(settings, options)

    return run_directly


def _up(settings: "Settings", options: argparse.Namespace) -> int:
    from contract.settings import load_settings
    from stack import groups

    if options.nodes not in (None, settings.stack_nodes):
        settings = load_settings(stack_nodes=options.nodes)
    chosen = (options.only,) if options.only else groups.wanted(settings)
    for group in chosen:
        started = groups.up(settings, group)
        name = groups.TITLES[group]
        print(f"The {name} are ready." if started else f"The {name} were running already.", flush=True)
    if "programs" in chosen:
        print(f"Page: {settings.api_address}/")
    return 0


def _down(settings: "Settings", options: argparse.Namespace) -> int:
    from stack import groups

    for group in (options.only,) if options.only else reversed(groups.GROUPS):
        stopped = groups.down(settings, group)
        if group == "next" and not stopped and not options.only:
            continue
        name = groups.TITLES[group]
        print(f"The {name} are stopped." if stopped else f"The {name} were not running.", flush=True)
    return 0


def _status(settings: "Settings", options: argparse.Namespace) -> int:
    from gallery.collection_commands import print_collections, told_of_indexed
    from stack import groups
    from stack.programs import told_stalled
    from stack.shown import described, print_states
    from stack.state import read_state

    states = [state for group in groups.GROUPS if (state := read_state(settings, group)) is not None]
    stalled = told_stalled(settings.api_address, settings.api_tls_certificate_file) if states else ""
    is_ready = all(state.is_ready for state in states)
    collections = told_of_indexed(settings)
    if options.json:
        told = {
            "is_ready": bool(states) and is_ready,
            "stalled": stalled,
            "groups": [described(s) for s in states],
            "collections": collections,
        }
        print(json.dumps(told, indent=2))
    elif not states:
        print("Nothing is running. Start it: python -m stack up")
    else:
        print_states(states)
        print_collections(collections)
        if stalled:
            print(stalled)
    if not states:
        return NOT_RUNNING
    return 0 if is_ready else FAILED


def _logs(settings: "Settings", options: argparse.Namespace) -> int:
    folder = settings.var_dir.resolve() / "logs"
    files = sorted(folder.glob(f"{options.name or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        raise LookalikeError(f"there is no log of {options.name or 'anything'} in {folder}. There are: {known}")
    return subprocess.run(
        ["tail", "-n", "40", *(["-F"] if options.follow else []), *map(str, files)], check=False
    ).returncode


def _wipe(settings: "Settings", _options: argparse.Namespace) -> int:
    from stack import groups
    from stack.state import read_state

    if any(_is_alive(read_state(settings, group)) for group in groups.GROUPS):
        raise LookalikeError("the stack is running. Stop it first: python -m stack down")
    for folder in (
        *(settings.var_dir / name for name in ("kafka", "cassandra", "secured", "demo", "folders")),
        settings.index_dir,
    ):
        if folder.exists():
            shutil.rmtree(folder)
            print(f"Deleted {folder}")
    return 0


def _nodetool(settings: "Settings", options: argparse.Namespace) -> int:
    from stack.cassandra import nodetool

    return nodetool(settings, options.node, options.words)


def _fetch(_settings: "Settings", _options: argparse.Namespace) -> int:
    from stack.jars import SERVERS, jars

    for server in SERVERS:
        print(f"{server}: {jars(server)}")
    return 0


def _demo(settings: "Settings", options: argparse.Namespace) -> int:
    from stack.demo import demo
    from stack.demo_folder import demo_folder
    from stack.secured import as_user

    settings = as_user(settings, "admin")
    if options.folder is not None:
        return demo_folder(settings, options.folder, images=options.images, ends=options.exit)
    return demo(settings, images=options.images, ends=options.exit)


def _supervise(settings: "Settings", options: argparse.Namespace) -> int:
    from stack import groups

    return groups.supervise(settings, options.group, options.tied)


def _grant(settings: "Settings", _options: argparse.Namespace) -> int:
    from stack.grants import grant

    grant(settings)
    return 0


def _is_alive(state: "GroupState | None") -> bool:
    """Whether the supervisor or any process of it still lives."""
    from stack.process import is_alive

    return state is not None and (
        state.is_running or any(is_alive(process.pid, process.started_at) for process in state.processes)
    )


VERBS = (
    Verb(
        name="up",
        summary="start what is not running; returns when all of it is ready",
        run=_on_this_machine(_up),
        add_arguments=_add_up,
        epilog="Example: %(prog)s --nodes 3",
    ),
    Verb(
        name="down",
        summary="stop everything, last started first; data stay",
        run=_on_this_machine(_down),
        add_arguments=_add_only,
        epilog="Example: %(prog)s --only programs",
    ),
    Verb(
        name="status",
        summary="show every process with its state, pid, ports and log file",
        run=_on_this_machine(_status),
        add_arguments=_add_status,
        epilog="Example: %(prog)s --json",
    ),
    Verb(
        name="logs",
        summary="show the end of the log files",
        run=_on_this_machine(_logs),
        add_arguments=_add_logs,
        epilog="Example: %(prog)s embedder --follow",
    ),
    Verb(
        name="wipe",
        summary="delete Kafka's and Cassandra's data, the indexes, and what is known of published folders; only while nothing runs",
        run=_on_this_machine(_wipe),
    ),
    Verb(
        name="nodetool",
        summary="run Cassandra's own tool against a node that `up` started: its state, repairs",
        run=_on_this_machine(_nodetool),
        add_arguments=_add_nodetool,
        epilog="Examples: %(prog)s status; %(prog)s --node 2 repair --full --preview lookalike",
    ),
    Verb(
        name="fetch",
        summary="fetch the servers' jars and check them; `up` does so by itself",
        run=_on_this_machine(_fetch),
    ),
    Verb(
        name="demo",
        summary="everything with a folder of pictures, or with MNIST digits, until Ctrl-C",
        run=_on_this_machine(_demo),
        add_arguments=_add_demo,
        epilog="Example: %(prog)s --folder ~/Pictures",
    ),
)
SUPERVISE = Verb(
    name="supervise",
    summary="keep one group running in the foreground; `up` uses this",
    run=_on_this_machine(_supervise),
    add_arguments=_add_supervise,
)
GRANT = Verb(
    name="grant",
    summary="give the users of a secured stack what they may do; `up` uses this",
    run=_on_this_machine(_grant),
)

if __name__ == "__main__":
    sys.exit(main())
