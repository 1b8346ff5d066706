"""Histories on real servers, with parts that are killed, are judged: no rule is broken, and bugs that only show there are found."""

import os
from pathlib import Path

import pytest

from runtime.failpoints import VARIABLE
from runtime.planted import PLANTED_VARIABLE
from tests.conftest import SEED
from tests.parts import started
from tests.soak import ANSWERED_SHARE_MIN, Soak
from tests.waiting import wait_for


@pytest.mark.thorough
@pytest.mark.timeout(420)
def test_while_everything_is_killed_in_turn_no_rule_is_broken(tmp_path: Path) -> None:
    parts = started(tmp_path)
    try:
        result = Soak(parts, tmp_path, SEED).run(75, killed=tuple(parts.services))
    finally:
        parts.stop()
    print(result)
    assert result.judgement.findings == []
    assert result.kills >= 10 and result.judgement.records > 500
    assert result.unanswered <= (1 - ANSWERED_SHARE_MIN) * result.questions + 1


@pytest.mark.thorough
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", ["", "embedder-acknowledges-first"])
def test_an_embedder_that_dies_loses_records_only_if_it_acknowledges_what_it_has_not_stored(
    bug: str, tmp_path: Path
) -> None:
    dying = {**os.environ, VARIABLE: "embedder-after-originals:3", PLANTED_VARIABLE: bug}
    parts = started(tmp_path, apis=1, planted={"embedder": dying})
    try:
        soak = Soak(parts, tmp_path, SEED)

        def died() -> int | None:
            soak.send(2)
            return parts.exit_code("embedder")

        wait_for(died, timeout_s=60)
        soak.note_fault("embedder")
        parts.start("embedder", environment={PLANTED_VARIABLE: bug})
        soak.send(10)
        result = soak.end(settle_s=20 if bug else 120)
    finally:
        parts.stop()
    print(result)
    assert {finding.rule for finding in result.judgement.findings} == ({"lost"} if bug else set())
