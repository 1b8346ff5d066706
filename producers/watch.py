"""Publishes a folder, and then what arrives, changes and leaves, until it is interrupted."""

import os
import sys
import time
from collections.abc import Callable, Generator, Mapping

from watchfiles import watch

from contract.errors import ConfigurationError
from producers.folder import STILL_S, Folder, Look
from producers.interrupt import Interrupt
from producers.report import Report
from producers.walk import Identity

# The system tells of changes at once. Where it cannot, as on some network disks, they are met this late at most.
_UNTOLD_S = 10.0
_RETRY_S = 5.0
# Looking takes at most a sixth of the time, however much happens.
_REST_SHARE = 5.0
_REST_MIN_S = 0.2


def keep_publishing(folder: Folder, publish: Callable[[Look], Report], total: Report) -> Report:
    """Look, publish, and wait for changes, until Ctrl-C or SIGTERM; adds up in `total` what became of all.

    A folder that goes away is waited for, and nothing is deleted meanwhile. Whatever Kafka did not take is tried again.
    """
    changes = Changes()
    is_away = False
    with Interrupt() as interrupt:
        try:
            while not total.signal:
                began_s = time.monotonic()
                wait_s = _UNTOLD_S
                with interrupt.idle():
                    try:
                        look = folder.look()
                    except ConfigurationError as error:
                        _say(f"{error} Waiting for it to come back.", is_away)
                        is_away = True
                        changes.close()
                        time.sleep(STILL_S)
                        continue
                _say("The folder is back.", not is_away)
                is_away = False
                report = publish(look)
                total.add(report)
                if report.stopped_by and not report.signal:
                    folder.begin_anew()
                    wait_s = _RETRY_S
                with interrupt.idle():
                    # What came before a folder was watched is met by looking once more.
                    if not changes.follow(look.folders):
                        rest_s = max(_REST_MIN_S, _REST_SHARE * (time.monotonic() - began_s))
                        changes.wait(rest_s, STILL_S if look.is_waiting else wait_s)
        except KeyboardInterrupt:
            pass  # This is how watching ends.
        finally:
            changes.close()
    return total


class Changes:
    """Waits for something to happen in any of many folders; links are not followed but where a folder is named by one."""

    def __init__(self) -> None:
        self._folders: dict[str, Identity] = {}
        self._events: Generator[object, None, None] | None = None

    def follow(self, folders: Mapping[str, Identity]) -> bool:
        """Watch these from now on; returns whether they are other folders than before."""
        if folders == self._folders:
            return False
        self.close()
        self._folders = dict(folders)
        # The library takes names of valid Unicode only; what happens elsewhere is met by looking now and then.
        paths = [path for path in folders if os.fsencode(path).decode(errors="replace") == path]
        events = watch(
            *paths,
            watch_filter=None,
            debounce=200,
            rust_timeout=100,
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
        )
        try:
            next(events)
            self._events = events
        except FileNotFoundError:
            self._folders = {}  # One has just gone: another look will tell.
        except (OSError, RuntimeError) as error:
            _say(f"Changes are noticed within {_UNTOLD_S:.0f} s only, since the folder cannot be watched: {error}.")
        return True

    def wait(self, rest_s: float, wait_s: float) -> None:
        """Rest, then return as soon as something has happened since the last call, at the latest after `wait_s`."""
        began_s = time.monotonic()
        time.sleep(rest_s)
        while time.monotonic() - began_s < wait_s:
            if self._events is None:
                time.sleep(0.1)
            elif next(self._events):
                return

    def close(self) -> None:
        """Watch nothing."""
        self._folders = {}
        if self._events is not None:
            self._events.close()
            self._events = None


def _say(message: str, is_known: bool = False) -> None:
    if not is_known:
        print(message, file=sys.stderr, flush=True)
