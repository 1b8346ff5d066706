"""The judge of histories finds each rule that a history breaks, and nothing in one that breaks none."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.history.held import Held, HeldMatch, HeldRecord, HeldRejection
from tests.history.journal import (
    Coverage,
    End,
    Event,
    Fault,
    Fetch,
    Journal,
    Kind,
    Look,
    Match,
    Outcome,
    Query,
    Run,
    Search,
    Send,
    Unwatch,
    Watch,
    read_journal,
)
from tests.history.judge import judge
from tests.history.load import Made
from tests.history.rules import RULES
from tests.history.truth import Embedding

LOG = "images:log"
RED = {"must": [{"key": "colour", "match": {"value": "red"}}]}
# Partition, offset, id, value (of which the embedding is that number), metadata; None deletes, b"?" is bad.
RECORDS: list[tuple[int, int, str, bytes | None, dict[str, Any]]] = [
    (0, 0, "a", b"1", {}),
    (0, 1, "b", b"5", {"colour": "red"}),
    (1, 0, "a", b"2", {"colour": "red"}),
    (1, 1, "c", b"5", {}),
    (0, 2, "b", b"?", {}),
    (1, 2, "d", b"9", {}),
    (0, 3, "d", None, {}),
]
ENDS = {"0": 4, "1": 3}


def embed(value: bytes) -> Embedding:
    return np.array([float(value), 0.0], np.float32)


def coverage(offsets: dict[str, int], count: int, generation: int = 7, matched: int | None = None) -> Coverage:
    return Coverage(
        index_id="i", generation=generation, log=LOG, offsets=offsets, count=count, digest=str(generation),
        content_digest=str(sorted(offsets.items())), matched=matched,
    )  # fmt: skip


def match(image_id: str, distance: float, partition: int, offset: int, metadata: dict[str, Any]) -> Match:
    timestamp = 1000 + RECORDS.index(next(each for each in RECORDS if each[:2] == (partition, offset)))
    return Match(
        id=image_id,
        distance=distance,
        log=LOG,
        partition=partition,
        offset=offset,
        timestamp=timestamp,
        metadata=metadata,
    )


A, B, C = (
    match("a", 2.0, 1, 0, {"colour": "red"}),
    match("b", 5.0, 0, 1, {"colour": "red"}),
    match("c", 5.0, 1, 1, {}),
)
OLD_A = match("a", 1.0, 0, 0, {})
C_FETCHED: dict[str, Any] = {
    "n": 9, "client": "one", "image_id": "c", "partition": 1, "offset": 1, "began_s": 105.6, "ended_s": 105.7,
    "status": 200, "sha256": hashlib.sha256(b"5").hexdigest(),
}  # fmt: skip
ZERO = Query(embedding=[0.0, 0.0])


def search(n: int, matches: list[Match], covered: Coverage, at_s: float = 100.0, **asked: Any) -> Search:
    times: dict[str, Any] = {"began_s": at_s + n, "ended_s": at_s + n + 0.5}
    return Search(n=n, client="one", query=ZERO, status=200, matches=matches, coverage=covered, **times, **asked)


def history() -> tuple[list[Event], Held]:
    """One in which everything is right; what is sent is sent from 10 s on, one record a second."""
    events: list[Event] = [Run(seed=0, topic="images", log=LOG, encoder="e")]
    watch = Watch(id="w", query=ZERO, max_distance=5.0, filter=RED, start={"0": 1}, began_s=10.6, ended_s=10.9)
    first = search(0, [OLD_A], coverage({"0": 1, "1": 0}, 1, generation=5), at_s=10.7)
    records = []
    for n, (partition, offset, image_id, value, metadata) in enumerate(RECORDS):
        kind: Kind = "delete" if value is None else "bad" if value == b"?" else "put"
        made = Made(
            kind=kind, image_id=image_id, key=image_id.encode(), value=value, reason="corrupt" * (kind == "bad")
        )
        asked: dict[str, Any] = {"kind": kind, "reason": made.reason, "metadata": metadata, "sha256": made.sha256}
        events.append(Send(n=n, image_id=image_id, began_s=10.0 + n, **asked))
        if n != 4:  # the bad one's outcome is not known
            events.append(Outcome(n=n, state="confirmed", ended_s=10.5 + n, partition=partition, offset=offset))
        records.append(HeldRecord(partition, offset, 1000 + n, made.key, value, {"sent": str(n).encode()}))
        events += [watch, first] if n == 0 else []
    now = coverage(ENDS, 3)
    look = Look(n=6, client="one", began_s=106, ended_s=107, coverage=now, rejected={"corrupt": 1})
    events += [
        search(1, [A, B, C], now, min_offsets={"0": 4}),
        search(2, [A, B], coverage(ENDS, 3, matched=2), filter=RED),
        search(3, [OLD_A], coverage({"0": 1, "1": 0}, 1), as_of="0:1"),
        search(4, [A], now, max_distance=2.0),
        search(5, [C], now, offset=2, generation=7),
        Fetch(**C_FETCHED),
        look,
        End(look=look),
    ]
    matches = [HeldMatch("m1", "w", "b", LOG, 0, 1, 5.0), HeldMatch("m2", "w", "a", LOG, 1, 0, 2.0)]
    return events, Held(LOG, sorted(records), [HeldRejection(LOG, 0, 2, "corrupt")], matches)


def rules(events: Sequence[Event], held: Held) -> set[str]:
    return {finding.rule for finding in judge(events, held, embed).findings}


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    judgement = judge(*history(), embed)
    assert judgement.findings == []
    assert (judgement.records, judgement.unknown, judgement.answers, judgement.told) == (7, 1, 6, 2)


Change = Callable[[list[Event], Held], tuple[list[Event], Held]]


def answer(n: int, **changes: Any) -> Change:
    """Another answer to question `n`."""

    def change(events: list[Event], held: Held) -> tuple[list[Event], Held]:
        return [
            msgspec.structs.replace(each, **changes) if isinstance(each, Search) and each.n == n else each
            for each in events
        ], held

    return change


def topic(**changes: Callable[[Any], Any]) -> Change:
    """Something else in Kafka."""
    return lambda events, held: (
        events,
        replace(held, **{name: of(getattr(held, name)) for name, of in changes.items()}),
    )


def looked(**changes: Any) -> Change:
    """Another state of the index at the end."""

    def change(events: list[Event], held: Held) -> tuple[list[Event], Held]:
        look = msgspec.structs.replace(next(each for each in events if isinstance(each, Look)), **changes)
        return [look if isinstance(e, Look) else End(look=look) if isinstance(e, End) else e for e in events], held

    return change


def noted(kind: type[Fetch | Watch], **changes: Any) -> Change:
    """Another answer to who asks for the original, or who creates a watch."""
    return lambda events, held: ([changed(e, **changes) if isinstance(e, kind) else e for e in events], held)


def changed(given: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(given, **changes)


BROKEN: list[tuple[str, Change]] = [
    ("lost", topic(records=lambda records: records[:-1])),
    ("lost", topic(records=lambda records: [*records[:-1], records[-1]._replace(value=b"8")])),
    ("lost", looked(coverage=coverage({"0": 4, "1": 2}, 3))),
    ("lost", lambda events, held: ([each for each in events if not isinstance(each, End)], held)),
    ("never-sent", topic(records=lambda records: [*records, HeldRecord(2, 0, 2000, b"e", b"1", {})])),
    ("never-sent", answer(1, matches=[A, B, C, changed(C, id="x", partition=1, offset=9)])),
    ("never-sent", answer(1, matches=[A, B, changed(C, id="x")])),
    ("never-sent", topic(matches=lambda told: [*told, HeldMatch("m", "w", "x", LOG, 1, 1, 5.0)])),
    ("twice", topic(records=lambda records: [*records, records[0]._replace(offset=4)])),
    ("twice", answer(1, matches=[A, A, B, C])),
    ("rejected", topic(rejections=lambda _: [])),
    ("rejected", topic(rejections=lambda told: told * 2)),
    ("rejected", topic(rejections=lambda told: [told[0]._replace(reason="empty")])),
    ("rejected", topic(rejections=lambda told: [*told, told[0]._replace(offset=1)])),
    ("rejected", looked(rejected={})),
    ("rejected", answer(1, matches=[A, changed(B, offset=2), C])),
    ("deleted", answer(1, matches=[A, B, C, match("d", 9.0, 1, 2, {})])),
    ("stale", answer(1, matches=[OLD_A, B, C])),
    ("ahead", answer(0, matches=[A])),
    ("ahead", answer(0, coverage=coverage(ENDS, 3, generation=5))),
    ("backwards", answer(4, coverage=coverage({"0": 1, "1": 3}, 3, generation=8))),
    ("backwards", answer(4, coverage=coverage(ENDS, 3, generation=6))),
    ("too-early", answer(1, min_offsets={"1": 4})),
    ("too-early", answer(5, generation=6)),
    ("too-early", answer(3, as_of="0:2")),
    ("too-early", answer(1, status=412, matches=[])),
    ("generation", answer(4, coverage=msgspec.structs.replace(coverage(ENDS, 3), digest="x"))),
    ("content", answer(4, coverage=msgspec.structs.replace(coverage(ENDS, 3), content_digest="x"))),
    ("other-log", answer(4, coverage=msgspec.structs.replace(coverage(ENDS, 3), log="x"))),
    ("count", answer(2, coverage=coverage(ENDS, 3, matched=3))),
    ("count", answer(1, coverage=coverage(ENDS, 4))),
    ("filter", answer(2, matches=[A, B, C])),
    ("distance", answer(1, matches=[changed(A, distance=2.0000001), B, C])),
    ("distance", answer(4, matches=[A, B])),
    ("ties", answer(1, matches=[A, C, B])),
    ("missing", answer(1, matches=[A, B])),
    ("missing", answer(1, matches=[B, A, C])),
    ("missing", answer(5, matches=[A])),
    ("missing", answer(4, status=404, code="unknown-image", query=Query(image_id="c"))),
    ("metadata", answer(1, matches=[A, changed(B, metadata={"colour": "blue"}), C])),
    ("metadata", answer(1, matches=[A, B, changed(C, timestamp=1)])),
    ("original", noted(Fetch, sha256="00")),
    ("original", noted(Fetch, status=404)),
    ("refused", noted(Fetch, status=500)),
    ("refused", answer(4, status=500, code="bug")),
    ("watch-start", noted(Watch, start={})),
    ("watch-start", noted(Watch, start={"0": 2})),
    ("told-wrongly", noted(Watch, max_distance=4.0)),
    ("told-wrongly", topic(matches=lambda told: [*told, HeldMatch("m", "w", "c", LOG, 1, 1, 5.0)])),
    ("told-twice", topic(matches=lambda told: told * 2)),
    ("told-twice", topic(matches=lambda told: [*told, told[0]._replace(id="m3")])),
    ("not-told", topic(matches=lambda told: told[:1])),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN, ids=[f"{n}-{rule}" for n, (rule, _) in enumerate(BROKEN)])
def test_what_is_wrong_is_found_by_the_rule_that_it_breaks(rule: str, change: Change) -> None:
    assert rule in rules(*change(*history()))


def test_every_rule_is_broken_here_once() -> None:
    assert {rule for rule, _ in BROKEN} == RULES.keys()


def test_a_send_without_an_answer_may_be_there_or_not() -> None:
    events, held = history()
    unknown = [each for each in events if not (isinstance(each, Outcome) and each.n == 6)]
    assert rules(unknown, held) == set()
    late = msgspec.structs.replace(Outcome(n=6, state="unknown", ended_s=60), why="timeout")
    without = replace(held, records=[each for each in held.records if each[:2] != (0, 3)])
    assert "lost" not in rules([*unknown, late], without)
    assert "lost" in rules(events, without)


def test_of_two_sends_of_the_same_bytes_a_record_is_the_one_with_its_metadata() -> None:
    """What became of neither is known, and over HTTP a record carries no number."""
    events, held = history()
    events = [each for each in events if not (isinstance(each, Outcome) and each.n == 2)]
    (sent,) = (each for each in events if isinstance(each, Send) and each.n == 2)
    events.insert(1, msgspec.structs.replace(sent, n=20, began_s=9.0, metadata={}))
    headers = {"metadata": b'{"colour": "red"}'}
    records = [each._replace(headers=headers) if each[:2] == (1, 0) else each for each in held.records]
    assert judge(events, replace(held, records=records), embed).findings == []


def test_an_id_that_an_older_generation_does_not_have_is_not_missing() -> None:
    unknown: dict[str, Any] = {"status": 404, "code": "unknown-image", "query": Query(image_id="c"), "coverage": None}
    assert rules(*answer(5, generation=5, **unknown)(*history())) == set()
    assert rules(*answer(5, generation=7, **unknown)(*history())) == {"missing"}


@pytest.mark.parametrize(("ended_s", "found"), [(163.0, {"refused"}), (165.0, set())])
def test_a_generation_may_be_gone_a_minute_after_it_was_told(ended_s: float, found: set[str]) -> None:
    gone: dict[str, Any] = {"status": 410, "code": "generation-gone", "coverage": None}
    assert rules(*answer(5, **gone, ended_s=ended_s)(*history())) == found


@pytest.mark.parametrize(("is_known", "found"), [(True, {"told-wrongly"}), (False, set())])
def test_a_watch_may_be_told_while_its_deletion_is_not_confirmed(is_known: bool, found: set[str]) -> None:
    events, held = history()
    assert rules([*events, Unwatch(id="w", began_s=1.0, ended_s=2.0, is_known=is_known)], held) == found


def test_a_repeat_after_a_fault_is_none() -> None:
    events, held = history()
    held = replace(held, matches=held.matches * 2, rejections=held.rejections * 2)
    assert rules([*events, Fault(part="kafka", what="killed", at_s=50)], held) == set()


def test_a_journal_is_read_back_without_a_line_that_was_cut_short(tmp_path: Path) -> None:
    events, _ = history()
    journal = Journal(tmp_path / "journal.jsonl")
    for event in events:
        journal.note(event)
    journal.close()
    assert read_journal(journal.path) == events
    journal.path.write_bytes(journal.path.read_bytes()[:-9])
    assert read_journal(journal.path) == events[:-1]
