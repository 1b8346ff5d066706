"""Publishes everything that a source gives, at a rate, and reports what became of each image."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress

from contract.errors import DependencyError, RejectedError
from contract.origin import Origin
from producers.interrupt import Interrupt
from producers.outgoing import Departed, Failure, Handed, LeftOut, Outgoing
from producers.report import Report
from runtime.progress import progress_line
from topics.publisher import Confirmation, ImagePublisher

# A run that was stopped ends within this time, whatever Kafka does.
_LAST_FLUSH_S = 10.0


def publish_all(
    publisher: ImagePublisher,
    images: Iterable[Handed],
    *,
    title: str,
    total: int | None,
    rate_per_s: float | None,
    timeout_s: float,
    on_confirmed: Callable[[Outgoing | Departed], None] = lambda _: None,
) -> Report:
    """Publish, and delete, until the source ends, Kafka gives up, or a signal comes; then wait for the outstanding confirmations.

    Args:
        title: what the progress line calls it.
        rate_per_s: images a second at most; None is as fast as Kafka takes them.
        timeout_s: the publisher's delivery timeout.
        on_confirmed: called for each confirmed image or deletion, from another thread.
    """
    report = Report(log=publisher.log, total=total)
    started_s = time.monotonic()
    with Interrupt() as interrupt, progress_line(title, total) as progress:
        ledger = _Ledger(report, progress.update, on_confirmed)
        try:
            for image in _paced(iter(images), rate_per_s, interrupt):
                ledger.send(publisher, image)
                if report.stopped_by:
                    break
            else:
                with interrupt.idle():
                    publisher.flush(timeout_s + 5.0)
        except KeyboardInterrupt:
            report.stopped_by = "it was interrupted"
        except DependencyError as error:
            report.stopped_by = str(error)
        if report.stopped_by:
            # What is missing after this is reported as not confirmed. A second Ctrl-C ends the wait.
            with suppress(DependencyError, KeyboardInterrupt):
                publisher.flush(_LAST_FLUSH_S)
        report.signal = interrupt.number
        ledger.close()
    report.seconds = time.monotonic() - started_s
    return report


class _Ledger:
    """Keeps the report while confirmations arrive on Kafka's thread."""

    def __init__(
        self, report: Report, advance: Callable[[int], object], on_confirmed: Callable[[Outgoing | Departed], None]
    ) -> None:
        self._report = report
        self._origin = Origin(request_id=report.request_id)
        self._advance = advance
        self._on_confirmed = on_confirmed
        self._lock = threading.Lock()
        self._is_closed = False
        self._sent = 0

    def send(self, publisher: ImagePublisher, image: Handed) -> None:
        if isinstance(image, Failure):
            self._report.failures.append(image)
            return
        if isinstance(image, LeftOut):
            self._report.left_out.append(image)
            if self._report.total is not None:
                self._report.total -= 1
            return
        self._sent += 1
        place = self._sent
        with self._lock:
            self._report.unconfirmed[place] = image.name
        try:
            if isinstance(image, Departed):
                sent = publisher.delete(image.image_id, origin=self._origin)
            else:
                sent = publisher.put(image.value, image_id=image.image_id, metadata=image.metadata, origin=self._origin)
        except (RejectedError, DependencyError) as error:
            with self._lock:
                del self._report.unconfirmed[place]
            if isinstance(error, RejectedError):
                self._report.failures.append(Failure(image.name, error.reason, error.detail))
            else:
                self._report.stopped_by = str(error)
            return
        sent.add_done_callback(lambda settled: self._settle(place, image, settled))

    def close(self) -> None:
        """The report is final: what Kafka says from now on comes too late."""
        with self._lock:
            self._is_closed = True

    def _settle(self, place: int, image: Outgoing | Departed, settled: Future[Confirmation]) -> None:
        with self._lock:
            if self._is_closed:
                return
            try:
                confirmed = settled.result()
            except DependencyError as error:
                self._report.stopped_by = self._report.stopped_by or str(error)
                return
            report = self._report
            report.log = confirmed.log
            if isinstance(image, Departed):
                report.deleted += 1
            else:
                report.confirmed += 1
            del report.unconfirmed[place]
            behind = max(report.next_offsets.get(confirmed.partition, 0), confirmed.offset + 1)
            report.next_offsets[confirmed.partition] = behind
        self._on_confirmed(image)
        self._advance(1)


def _paced(images: Iterator[Handed], rate_per_s: float | None, interrupt: Interrupt) -> Iterator[Handed]:
    """The images, each no earlier than its turn.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    due_s = time.monotonic()
    while True:
        with interrupt.idle():
            image = next(images, None)
            if image is None:
                return
            if rate_per_s is not None:
                # Up to a second is caught up after a pause; more would be a burst beyond the rate.
                due_s = max(due_s, time.monotonic() - 1.0)
                time.sleep(max(0.0, due_s - time.monotonic()))
                due_s += 1.0 / rate_per_s
        yield image
