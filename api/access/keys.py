"""Keys: how one is made, what is kept of it, and what it allows."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from hmac import compare_digest
from typing import Literal, get_args

import msgspec

Scope = Literal["search", "publish", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SCOPE_MEANINGS: Mapping[Scope, str] = {
    "search": "search, and read all that is known of images, watches and the index",
    "publish": "publish and delete images, create and delete watches, and say what is no duplicate",
    "admin": "create and drop collections",
}
PREFIX_OF_KEYS = "lk_"
_ID_BYTES = 6
_SECRET_BYTES = 32
_FORM = re.compile(rf"{PREFIX_OF_KEYS}([0-9a-f]{{{2 * _ID_BYTES}}})_[A-Za-z0-9_-]{{43}}")
# Compared with where no key has the id, so that an unknown id takes as long as a wrong secret.
_NOBODYS = hashlib.sha256(b"").hexdigest()


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key. Times are milliseconds since 1970.

    Attributes:
        id: public: names the key in lists and logs.
        sha256: of the whole key, in hex. A slow hash protects passwords that people choose, which can be guessed one after another.
            256 random bits cannot be guessed however quick a try is, so nothing is won by paying for one at every request.
        collections: the only ones that it is for; None for all, also those to come.
        per_minute: requests that each API process answers in a minute; None for any number.
        revoked_at_ms: since then it opens nothing; None while it does. It stays in the file, so that an API never takes a file of
            revoked keys for one that nobody ever wanted keys in.
    """

    id: str
    name: str
    sha256: str
    scopes: frozenset[Scope]
    collections: frozenset[str] | None = None
    per_minute: int | None = None
    created_at_ms: int = 0
    revoked_at_ms: int | None = None

    def is_for(self, collection: str) -> bool:
        """Whether it is for this collection."""
        return self.collections is None or collection in self.collections


def new_key(
    name: str,
    scopes: Iterable[Scope],
    *,
    collections: Iterable[str] | None = None,
    per_minute: int | None = None,
    now_ms: int = 0,
) -> tuple[str, StoredKey]:
    """A new key of 256 random bits as its owner sends it, which is told once, and what is kept of it."""
    key_id = secrets.token_hex(_ID_BYTES)
    key = f"{PREFIX_OF_KEYS}{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    stored = StoredKey(
        id=key_id,
        name=name,
        sha256=_hash(key),
        scopes=frozenset(scopes),
        collections=None if collections is None else frozenset(collections),
        per_minute=per_minute,
        created_at_ms=now_ms,
    )
    return key, stored


class Keyring:
    """The keys of one reading of their file.

    Args:
        are_needed: whether requests need a key.
    """

    def __init__(self, keys: Iterable[StoredKey], *, are_needed: bool) -> None:
        self.keys = tuple(keys)
        self.are_needed = are_needed
        self._valid = {key.id: key for key in self.keys if key.revoked_at_ms is None}

    def find(self, given: str) -> StoredKey | None:
        """The key that somebody gave; None when there is none like it, or it was revoked. Takes the same time for all wrong ones."""
        form = _FORM.fullmatch(given)
        stored = self._valid.get(form[1]) if form else None
        is_right = compare_digest(_hash(given), stored.sha256 if stored else _NOBODYS)
        return stored if is_right else None

    def has(self, key: StoredKey) -> bool:
        """Whether a key that was found before is still good for the same."""
        return self._valid.get(key.id) == key


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
