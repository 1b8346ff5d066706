"""`python -m producers folder`: one look at a folder or many, with what is remembered from run to run."""

import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contract.errors import ConfigurationError
from contract.settings import Settings
from producers.folder import STILL_S, Folder, Look, Manner
from producers.report import Report
from producers.run import publish_all
from producers.state import FolderState, claimed_by_others, usual_file
from producers.walk import FoundFile
from producers.watch import keep_publishing
from topics.publisher import ImagePublisher


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """What was asked for on the command line."""

    path: str
    state: Path | None
    follow_links: bool
    delete: bool
    watch: bool
    verbose: bool
    rate_per_s: float | None
    timeout_s: float


def publish_folder(settings: Settings, publisher: ImagePublisher, options: FolderOptions) -> Report:
    """Publish what a folder holds, once or for as long as nobody interrupts.

    Raises:
        ConfigurationError: the folder cannot be read, or the state file not be used.
    """
    root = os.path.realpath(options.path)
    file = options.state or _usual_file_if_writable(settings, root, is_needed=options.delete)
    is_known = file is not None and file.exists()
    state = FolderState(file, root, publisher.log)
    if state.forgot:
        _tell(state.forgot)
    if options.delete and not is_known:
        _tell("Nothing is known of an earlier run: what left this folder before stays in the gallery.")
    manner = Manner(
        state_file=file,
        skips=options.state is not None or options.delete or options.watch,
        follow_links=options.follow_links,
        deletes=options.delete,
        still_s=STILL_S if options.watch else 0.0,
        claimed=lambda ids: claimed_by_others(settings, root, publisher.log, ids),
    )
    folder = Folder(options.path, state, manner)
    try:
        if options.watch:
            publish = partial(_publish_changes, publisher, folder, state, options)
            return keep_publishing(folder, publish, Report(publisher.log))
        look = folder.look()
        pictures = sum(isinstance(each, FoundFile) for each in look.due) + look.unchanged
        _tell(f"{pictures:,} pictures found, {look.unchanged:,} of them unchanged.")
        report = _publish(publisher, folder, options, look)
        for line in report.remarks(verbose=options.verbose):
            _tell(line)
        return report
    finally:
        state.save()


def _publish(publisher: ImagePublisher, folder: Folder, options: FolderOptions, look: Look) -> Report:
    for note in look.notes:
        _tell(note)
    report = publish_all(
        publisher,
        folder.images(look),
        title="folder",
        total=len(look.due),
        rate_per_s=options.rate_per_s,
        timeout_s=options.timeout_s,
        on_confirmed=folder.confirm,
    )
    report.left_out[:0] = look.left_out
    report.renamed = look.renamed
    return report


def _publish_changes(
    publisher: ImagePublisher, folder: Folder, state: FolderState, options: FolderOptions, look: Look
) -> Report:
    """Publish what one look of many found, and say so."""
    if state.follow(publisher.log):
        _tell(state.forgot)
        folder.begin_anew()
        return Report(publisher.log, stopped_by="the topic is a new one")
    if not (look.due or look.left_out or look.notes):
        return Report(publisher.log)
    began_s = time.monotonic()
    report = _publish(publisher, folder, options, look)
    state.save()
    for line in (*report.remarks(verbose=options.verbose), *report.complaints()):
        _tell(line)
    counts = f"{report.confirmed:,} published, {report.deleted:,} deleted, {len(report.failures):,} failed"
    seconds = time.monotonic() - began_s
    _tell(f"{time.strftime('%H:%M:%S')} {counts}, in {seconds:.1f} s. {report.left_out_in_words()}".rstrip())
    return report


def _usual_file_if_writable(settings: Settings, root: str, *, is_needed: bool) -> Path | None:
    """The file that remembers what `--delete` has to know; None where it cannot be written and is not asked for."""
    file = usual_file(settings, root)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if os.access(file.parent, os.W_OK):
            return file
        problem = "it may not be written to"
    except OSError as error:
        problem = str(error)
    if is_needed:
        raise ConfigurationError(
            f"What was published cannot be remembered in {file.parent}: {problem}. Name a file: --state FILE."
        )
    return None


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
