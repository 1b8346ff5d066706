"""The client: one method for each thing that the API does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lookalike_client.answers import Answer, Answers, Covered, Effort, Sort, Written, answer_of, answers_of, written_of
from lookalike_client.bodies import AnyQuery, batch_questions, form_body, json_body, search_parameters
from lookalike_client.problems import ApiError
from lookalike_client.requests import Requests
from lookalike_client.watches import Matched, Watched, match_events, matched_of, new_watch, watched_of

_COLLECTIONS = "/collections"
_JSON = "application/json"
_BYTES = "application/octet-stream"
_POLL_S = 0.5


class Client(Requests):
    """Talks to one API, or to those of several machines behind one address. Every method raises ApiError.

    Args:
        goes_back: whether a search may cover less than an earlier one did, as where machines are not equally far.
    """

    def search(
        self,
        image: bytes,
        *,
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        as_of: str | None = None,
        explain: bool = False,
        sort: Sort | None = None,
        effort: Effort = "normal",
        filter: Mapping[str, Any] | None = None,
        offset: int = 0,
        generation: int | Covered | None = None,
        fields: Sequence[str] | None = None,
    ) -> Answer:
        """Neighbours of an encoded image; `explain` says of each what it is to the image, `sort` and `effort` are as in the API.

        With `min_offsets` the answer covers at least those offsets; it is waited for at most `wait_ms`. With `as_of`, offsets such
        as ``0:1240,1:1198`` or a time such as ``2026-01-31T12:00:00Z``, it is made of the records of then. Only images are
        found whose metadata match `filter`, in Qdrant's form. The next page begins at `offset`, with the first one's `coverage` as
        `generation`; its number alone is enough where one machine answers. Each match has `fields` beside id and distance, all by default.
        """
        query = search_parameters(
            k, max_distance, min_offsets, wait_ms, as_of, explain=explain, sort=sort, effort=effort, offset=offset,
            generation=generation, fields=fields,
        )  # fmt: skip
        kind, body = (_BYTES, image) if filter is None else form_body([("file", image), ("filter", json.dumps(filter))])
        return self._search(answer_of, "/search", query, body, kind)

    def search_file(
        self,
        file: Path,
        *,
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        as_of: str | None = None,
        explain: bool = False,
        sort: Sort | None = None,
        effort: Effort = "normal",
        filter: Mapping[str, Any] | None = None,
        offset: int = 0,
        generation: int | Covered | None = None,
        fields: Sequence[str] | None = None,
    ) -> Answer:
        """Neighbours of an image file, as `search`.

        Raises:
            OSError: the file cannot be read.
        """
        return self.search(
            file.read_bytes(), k=k, max_distance=max_distance, min_offsets=min_offsets, wait_ms=wait_ms, as_of=as_of, explain=explain,
            sort=sort, effort=effort, filter=filter, offset=offset, generation=generation, fields=fields,
        )  # fmt: skip

    def search_address(
        self,
        url: str,
        *,
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        as_of: str | None = None,
        explain: bool = False,
        sort: Sort | None = None,
        effort: Effort = "normal",
        filter: Mapping[str, Any] | None = None,
        offset: int = 0,
        generation: int | Covered | None = None,
        fields: Sequence[str] | None = None,
    ) -> Answer:
        """Neighbours of the picture at an address, which the API fetches where its setting allows that."""
        query = search_parameters(
            k, max_distance, min_offsets, wait_ms, as_of, explain=explain, sort=sort, effort=effort, offset=offset,
            generation=generation, fields=fields,
        )  # fmt: skip
        query |= {"url": url, "filter": None if filter is None else json.dumps(filter)}
        return self._search(answer_of, "/search", query)

    def search_id(
        self,
        image_id: str,
        *,
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        as_of: str | None = None,
        explain: bool = False,
        sort: Sort | None = None,
        filter: Mapping[str, Any] | None = None,
        offset: int = 0,
        generation: int | Covered | None = None,
        fields: Sequence[str] | None = None,
    ) -> Answer:
        """Neighbours of an image of the gallery, itself first."""
        query = search_parameters(
            k, max_distance, min_offsets, wait_ms, as_of, explain=explain, sort=sort,
            offset=offset, generation=generation, fields=fields,
        )  # fmt: skip
        return self._search(answer_of, "/search", query, json_body({"image_id": image_id}, filter), _JSON)

    def search_embedding(
        self,
        embedding: Sequence[float],
        *,
        encoder: str = "",
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        as_of: str | None = None,
        filter: Mapping[str, Any] | None = None,
        offset: int = 0,
        generation: int | Covered | None = None,
        fields: Sequence[str] | None = None,
    ) -> Answer:
        """Neighbours of an embedding, as many numbers as the encoder's dimensions; refused when `encoder` is given and another one answers."""
        body = json_body({"embedding": list(embedding), "encoder": encoder}, filter)
        query = search_parameters(
            k, max_distance, min_offsets, wait_ms, as_of, offset=offset, generation=generation, fields=fields
        )
        return self._search(answer_of, "/search", query, body, _JSON)

    def search_batch(
        self,
        queries: Sequence[AnyQuery],
        *,
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        as_of: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> Answers:
        """Neighbours of up to 256 queries, all from one generation: all of them images, or all of them ids and embeddings.

        Raises:
            ValueError: images are mixed with others.
        """
        images = [query for query in queries if isinstance(query, bytes)]
        if images and len(images) < len(queries):
            raise ValueError("A batch holds images, or ids and embeddings, not both. Send two batches.")
        kind, body = _JSON, json_body(batch_questions(queries), filter)
        if images:
            asked = [] if filter is None else [("filter", json.dumps(filter))]
            kind, body = form_body([*(("file", image) for image in images), *asked])
        query = search_parameters(k, max_distance, min_offsets, wait_ms, as_of)
        return self._search(answers_of, "/search/batch", query, body, kind)

    def publish(
        self, image: bytes, *, image_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Written:
        """Publish an image; without an id it gets the SHA-256 of its bytes."""
        kind, body = _BYTES, image
        if metadata is not None:
            kind, body = form_body([("file", image), ("metadata", json.dumps(metadata))])
        return self._read(written_of, "POST", "/images", {"id": image_id}, body, kind)

    def delete(self, image_id: str) -> Written:
        """Delete an image."""
        return self._read(written_of, "DELETE", "/images", {"id": image_id})

    def image(self, image_id: str, *, as_of: str | None = None) -> dict[str, Any]:
        """What is known of an image, or of the one that had its id at an earlier time."""
        return self._read(dict, "GET", "/images", {"id": image_id, "as_of": as_of})

    def history(self, image_id: str) -> list[dict[str, Any]]:
        """Every record of an id, the oldest in front, also when its image is deleted."""
        found: dict[str, Any] = self._read(dict, "GET", "/images/history", {"id": image_id})
        return list(found["history"])

    def original(self, image_id: str, *, as_of: str | None = None) -> bytes:
        """The bytes exactly as they were published."""
        return self._call(self._request("GET", "/images/original", {"id": image_id, "as_of": as_of}))

    def thumbnail(self, image_id: str, *, as_of: str | None = None) -> bytes:
        """A small picture of the image."""
        return self._call(self._request("GET", "/images/thumbnail", {"id": image_id, "as_of": as_of}))

    def timeline(self, image_id: str, *, written: Written | None = None) -> dict[str, Any]:
        """How far a record has come: the one that was `written`, or the one that the id means now."""
        at = None if written is None else f"{written.log}:{written.partition}:{written.offset}"
        return self._read(dict, "GET", "/images/timeline", {"id": image_id, "at": at})

    def index(self) -> dict[str, Any]:
        """The state of the index."""
        return self._read(dict, "GET", "/index", {})

    def rejected(self, limit: int = 20) -> list[dict[str, Any]]:
        """The records that were refused last, newest first."""
        found: dict[str, Any] = self._read(dict, "GET", "/rejected", {"limit": limit})
        return list(found["rejected"])

    def collections(self) -> list[dict[str, Any]]:
        """All collections, whichever this client searches."""
        return list(self._read(dict, "GET", _COLLECTIONS, {}, is_of_all=True)["collections"])

    def create_collection(
        self, name: str, *, encoder: str, partitions: int | None = None, engine: str = "exact"
    ) -> dict[str, Any]:
        """Create a collection; `partitions` are those of its topic, `engine` is ``exact`` or ``cassandra``."""
        body = json_body({"name": name, "encoder": encoder, "partitions": partitions, "engine": engine})
        return self._read(dict, "POST", _COLLECTIONS, {}, body, _JSON, is_of_all=True)

    def drop_collection(self, name: str) -> dict[str, Any]:
        """Drop a collection: its topic, feed, records and index are gone for good."""
        path = f"{_COLLECTIONS}/{quote(name, safe='')}"
        return self._read(dict, "DELETE", path, {"confirm": name}, is_of_all=True)

    def duplicates(
        self, *, max_distance: float | None = None, kinds: Sequence[str] = (), wait_s: float = 600.0
    ) -> Iterator[dict[str, Any]]:
        """Groups of images that are the same, altered copies or near, of the newest run; the first one is waited for.

        Args:
            kinds: only these classes: "same bytes", "same pixels", "altered copy", "near".
        """
        query: dict[str, Any] = {"max_distance": max_distance, "class": list(kinds) or None}
        deadline = time.monotonic() + wait_s
        while True:
            page: dict[str, Any] = self._read(dict, "GET", "/duplicates", query)
            if page["run"] is not None:
                yield from page["groups"]
                if page["next"] is None:
                    return
                query["cursor"] = page["next"]
            elif time.monotonic() > deadline:
                raise ApiError(202, "computing", f"The first run has not ended within {wait_s:g} s.")
            else:
                time.sleep(_POLL_S)

    def watch(
        self,
        query: AnyQuery,
        *,
        max_distance: float,
        filter: Mapping[str, Any] | None = None,
        name: str = "",
        webhook: str = "",
    ) -> Watched:
        """Be told of every image within `max_distance` of an image, of an image of the gallery or of an embedding, from now on.

        With `filter`, only of those whose metadata it holds for.
        """
        parameters, body, kind = new_watch(query, max_distance=max_distance, asked=filter, name=name, webhook=webhook)
        return self._read(watched_of, "POST", "/watches", parameters, body, kind)

    def watches(self) -> list[Watched]:
        """All watches, oldest first."""
        return [watched_of(each) for each in self._read(dict, "GET", "/watches", {})["watches"]]

    def remove_watch(self, watch_id: str) -> None:
        """Delete a watch."""
        self._call(self._request("DELETE", f"/watches/{quote(watch_id, safe='')}", {}))

    def matches(self, watch_id: str, *, limit: int = 50) -> list[Matched]:
        """What matched a watch last, newest first."""
        found = self._read(dict, "GET", f"/watches/{quote(watch_id, safe='')}/matches", {"limit": limit})
        return [matched_of(each) for each in found["matches"]]

    def follow_matches(self, *, watch_id: str | None = None, after: int | None = None) -> Iterator[Matched]:
        """What matches any watch, or this one, as it is told; ends with ApiError when the connection does."""
        return match_events(
            self._request("GET", "/watches/events", {"watch": watch_id, "after": after}), self._timeout_s
        )
