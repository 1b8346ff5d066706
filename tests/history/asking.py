"""Clients that note what they ask over plain HTTP, and what they are answered."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec

from tests.history.journal import (
    Coverage,
    Fetch,
    Journal,
    Look,
    Match,
    Outcome,
    Query,
    Search,
    State,
    Unwatch,
    Watch,
)
from tests.history.load import Made
from tests.history.sending import ended, noted

ANSWER_S_MAX = 10.0


class Asker:
    """One client: it asks one thing after the other.

    Attributes:
        coverage: that it was told last.
    """

    def __init__(self, journal: Journal, address: str, name: str) -> None:
        self._journal = journal
        self._name = name
        self._http = httpx.Client(base_url=address, timeout=ANSWER_S_MAX)
        self.coverage: Coverage | None = None

    def search(self, query: Query, *, wait_ms: int = 0, **wanted: Any) -> Search:
        """Search, and note the answer. `wanted`: fields of `Search` that are asked for."""
        asked = {name: value for name, value in wanted.items() if value not in (None, {})}
        parameters: dict[str, Any] = {"wait_ms": wait_ms} if wait_ms else {}
        parameters |= {name: value for name, value in asked.items() if name not in ("filter", "min_offsets")}
        if "min_offsets" in asked:
            parameters["min_offsets"] = offsets_text(asked["min_offsets"])
        if "filter" in asked:
            parameters["filter"] = json.dumps(asked["filter"])
        began_s = time.monotonic()
        status, told = self._answer("POST", "/v1/search", params=parameters, **_body(query))
        coverage = told.get("coverage")
        found = Search(
            n=self._journal.number("question"),
            client=self._name,
            query=query,
            began_s=began_s,
            ended_s=time.monotonic(),
            status=status,
            code=str(told.get("code", "")),
            matches=[_match(each) for each in told.get("matches", ())],
            coverage=_coverage(coverage) if coverage else None,
            degraded=told.get("degraded", []),
            **asked,
        )
        self._journal.note(found)
        if status == 200 and "as_of" not in asked and "generation" not in asked:
            self.coverage = found.coverage
        return found

    def fetch(self, match: Match) -> Fetch:
        """The original of a match, by its record."""
        at = f"{match.log}:{match.partition}:{match.offset}"
        began_s, status, code, sha256 = time.monotonic(), 0, "", ""
        try:
            answer = self._http.get("/v1/images/original", params={"id": match.id, "at": at})
            status = answer.status_code
            sha256, code = hashlib.sha256(answer.content).hexdigest(), answer.text[:200] if status != 200 else ""
        except httpx.HTTPError as error:
            code = repr(error)
        found = Fetch(
            n=self._journal.number("question"),
            client=self._name,
            image_id=match.id,
            partition=match.partition,
            offset=match.offset,
            began_s=began_s,
            ended_s=time.monotonic(),
            status=status,
            code=code,
            sha256=sha256,
        )
        self._journal.note(found)
        return found

    def batch(self, queries: Sequence[Query], k: int, asked: dict[str, Any] | None) -> None:
        """Ask for ids and embeddings at once; each query's answer is noted like one of its own, all with the same coverage."""
        parameters = {"k": k} if asked is None else {"k": k, "filter": json.dumps(asked)}
        began_s = time.monotonic()
        body = {"queries": [_body(query)["json"] for query in queries]}
        status, told = self._answer("POST", "/v1/search/batch", params=parameters, json=body)
        answers = (
            told["answers"]
            if status == 200
            else [{"matches": None, "problem": {**told, "status": status}}] * len(queries)
        )
        for query, answer in zip(queries, answers, strict=True):
            problem = answer["problem"] or {}
            found = Search(
                n=self._journal.number("question"),
                client=self._name,
                query=query,
                k=k,
                filter=asked,
                began_s=began_s,
                ended_s=time.monotonic(),
                status=problem.get("status", 200),
                code=str(problem.get("code", "")),
                matches=[_match(each) for each in answer["matches"] or ()],
                coverage=_coverage(told["coverage"]) if status == 200 else None,
            )
            self._journal.note(found)

    def look(self) -> Look | None:
        """The state of the index, noted; None where it was not told."""
        began_s = time.monotonic()
        status, told = self._answer("GET", "/v1/index")
        if status != 200:
            return None
        found = Look(
            n=self._journal.number("question"),
            client=self._name,
            began_s=began_s,
            ended_s=time.monotonic(),
            coverage=_coverage(told["coverage"]),
            rejected=told["rejected"],
        )
        self._journal.note(found)
        return found

    def log(self) -> str:
        """The log that is answered from now, not noted; "" where that was not told."""
        status, told = self._answer("GET", "/v1/index")
        return str(told["coverage"]["log"]) if status == 200 else ""

    def watch(self, query: Query, max_distance: float, asked: dict[str, Any] | None) -> Watch | None:
        """Create a watch; None where that failed, and nothing is noted."""
        body = {"embedding": query.embedding, "max_distance": max_distance, "filter": asked}
        began_s = time.monotonic()
        status, told = self._answer("POST", "/v1/watches", json=body)
        if status != 201:
            return None
        found = Watch(
            id=told["id"],
            query=query,
            max_distance=max_distance,
            filter=asked,
            start=told["start"],
            began_s=began_s,
            ended_s=time.monotonic(),
        )
        self._journal.note(found)
        return found

    def unwatch(self, watch_id: str) -> None:
        """Delete a watch."""
        began_s = time.monotonic()
        status, _ = self._answer("DELETE", f"/v1/watches/{watch_id}")
        self._journal.note(
            Unwatch(id=watch_id, began_s=began_s, ended_s=time.monotonic(), is_known=status in (204, 404))
        )

    def post(self, made: Made) -> Outcome:
        """Publish an image or a deletion over HTTP."""
        send = noted(self._journal, made)
        if made.value is None:
            status, told = self._answer("DELETE", "/v1/images", params={"id": made.image_id})
        else:
            form = {"metadata": json.dumps(made.metadata)} if made.metadata else None
            file = {"file": ("image", made.value)}
            status, told = self._answer("POST", "/v1/images", params={"id": made.image_id}, files=file, data=form)
        if status == 202:
            return ended(self._journal, send, "confirmed", told["partition"], told["offset"])
        state: State = "refused" if 400 <= status < 500 else "unknown"
        return ended(self._journal, send, state, why=f"{status} {told.get('code', '')}")

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _answer(self, method: str, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON body; 0 and the reason where no whole answer came."""
        try:
            answer = self._http.request(method, path, **request)
            return answer.status_code, answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            return 0, {"code": repr(error)}


def offsets_text(offsets: Mapping[str, int]) -> str:
    """Offsets as parameters take them."""
    return ",".join(f"{partition}:{offset}" for partition, offset in offsets.items())


def _body(query: Query) -> dict[str, Any]:
    if query.image is not None:
        return {"content": query.image, "headers": {"Content-Type": "image/png"}}
    return {"json": {"embedding": query.embedding} if query.embedding is not None else {"image_id": query.image_id}}


def _match(told: dict[str, Any]) -> Match:
    source = told["source"]
    return Match(
        id=told["id"],
        distance=told["distance"],
        log=source["log"],
        partition=source["partition"],
        offset=source["offset"],
        timestamp=source["timestamp"],
        metadata=told["metadata"],
    )


def _coverage(told: dict[str, Any]) -> Coverage:
    return msgspec.convert(told, Coverage)
