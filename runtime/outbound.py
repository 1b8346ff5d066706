"""HTTP to addresses that strangers name: nothing inside the network is reached, nothing lasts too long or grows too large.

A name is resolved once, every address that it has is checked, and one of those checked is connected to. So a name that
means something else a moment later changes nothing. Redirects are followed by hand, and each is checked likewise. No proxy,
no cookie and no credential is used.
"""

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from contract.errors import LookalikeError

REDIRECTS_MAX = 3
URL_LENGTH_MAX = 2048
MASK = "***"
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_SIZE_BYTES = 64 * 1024
# What an IPv6 address may carry an IPv4 one in, beside those that `ipaddress` knows by name.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], list[str]]


class AddressError(LookalikeError):
    """An address cannot be asked, or did not answer as it should.

    Args:
        code: ``bad-address``, ``forbidden-address``, ``address-failed`` or ``too-large``.
        detail: one sentence for people.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class OutboundAnswer:
    """What was answered, at last.

    Attributes:
        url: that answered, after redirects.
        headers: by name in small letters.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def resolved(host: str, port: int) -> list[str]:
    """All addresses of a host; raises OSError without any."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


class Outbound:
    """Asks addresses. Blocks; safe to share between threads.

    Args:
        allow_private: also what is not reachable from everywhere: for networks whose users are trusted.
        timeout_s: for one call, with all its redirects.
        resolve: addresses of a host.
        tls: for certificates that the system does not know.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        timeout_s: float,
        resolve: Resolve = resolved,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._tls = tls or ssl.create_default_context()

    def get(self, url: str, size_bytes_max: int) -> OutboundAnswer:
        """What an address holds, at most so large; follows up to three redirects.

        Raises:
            AddressError: with any of its codes; ``address-failed`` also for a status other than 200.
        """
        with _Deadline(self._timeout_s) as deadline:
            for _ in range(REDIRECTS_MAX + 1):
                answer = self._ask("GET", url, None, {}, size_bytes_max, deadline)
                if answer.status == 200:
                    return answer
                target = answer.headers.get("location", "")
                if answer.status not in _REDIRECTS or not target:
                    raise AddressError(
                        "address-failed", f"{_host(url)} answered with status {answer.status}, not with 200."
                    )
                url = urljoin(url, target)
        raise AddressError(
            "address-failed", f"{_host(url)} was reached after {REDIRECTS_MAX} redirects, and sends on again."
        )

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], size_bytes_max: int = 64 * 1024
    ) -> OutboundAnswer:
        """Send a body, and return whatever is answered; a redirect is an answer like any other.

        Raises:
            AddressError: nothing, or not what HTTP is, was answered.
        """
        with _Deadline(self._timeout_s) as deadline:
            return self._ask("POST", url, body, headers, size_bytes_max, deadline)

    def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        size_bytes_max: int,
        deadline: "_Deadline",
    ) -> OutboundAnswer:
        asked = _checked(url)
        host, port = asked.hostname or "", asked.port or _PORTS[asked.scheme]
        try:
            opened = self._connect(host, port, deadline)
            if asked.scheme == "https":
                opened = self._tls.wrap_socket(opened, server_hostname=host, do_handshake_on_connect=False)
                deadline.watch(opened)
                opened.do_handshake()
            connection = HTTPConnection(host, port)
            connection.sock = opened
            path = (asked.path or "/") + (f"?{asked.query}" if asked.query else "")
            told = {"User-Agent": "lookalike", "Accept-Encoding": "identity", "Connection": "close", **headers}
            connection.request(method, path, body, {"Host": asked.netloc, **told})
            answer = _read(url, connection.getresponse(), size_bytes_max)
            deadline.check()  # what has no stated length ends without an error when it is cut off
            return answer
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, UnicodeError):
                raise AddressError("bad-address", f"{masked_address(url)} cannot be asked: {error}.") from error
            raise AddressError(
                "address-failed",
                f"{host} did not answer as HTTP within {self._timeout_s:g} s: {error or type(error).__name__}.",
            ) from error

    def _connect(self, host: str, port: int, deadline: "_Deadline") -> socket.socket:
        addresses = self._resolve(host, port)
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise AddressError(
                        "forbidden-address",
                        f"{host} is {address}, which is not a public address. Set LOOKALIKE_PRIVATE_ADDRESSES=true if "
                        "everyone who asks may reach this network.",
                    )
        failure: OSError = OSError(f"{host} has no address")
        for address in addresses:
            try:
                opened = socket.create_connection((address, port), deadline.left_s())
            except OSError as error:
                failure = error
                deadline.check()
                continue
            deadline.watch(opened)
            return opened
        raise failure


class _Deadline:
    """Shuts the sockets that it watches down when time is over, however slowly bytes come; closes them at the end."""

    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s
        self._timer = threading.Timer(timeout_s, self._shut_down)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._is_over = False
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for opened in self._sockets:
            opened.close()

    def left_s(self) -> float:
        """Raises TimeoutError when there is nothing left."""
        self.check()
        return max(self._end_s - time.monotonic(), 0.001)

    def watch(self, opened: socket.socket) -> None:
        """Raises TimeoutError when it comes too late."""
        with self._lock:
            self._sockets.append(opened)
        self.check()

    def check(self) -> None:
        """Raises TimeoutError when time is over."""
        if self._is_over or time.monotonic() >= self._end_s:
            raise TimeoutError("time is over")

    def _shut_down(self) -> None:
        with self._lock:
            self._is_over = True
            for opened in self._sockets:
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)


def masked_address(url: str) -> str:
    """An address as logs, errors and lists may tell it: who is asked. What stands before and behind that may be a secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return MASK
    if not host:
        return MASK
    named = f"[{host}]" if ":" in host else host[:200]
    before = f"{MASK}@" if parts.username is not None else ""
    behind = f"/{MASK}" if parts.path not in ("", "/") or parts.query or parts.fragment else parts.path
    return f"{parts.scheme}://{before}{named}{f':{port}' if port is not None else ''}{behind}"


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody anywhere may reach, and nothing that only means one from inside."""
    found: Any = ipaddress.ip_address(address.partition("%")[0])
    if found.version == 6:
        if found in _NAT64:
            return is_public(str(ipaddress.ip_address(int(found) & 0xFFFFFFFF)))
        if found.teredo is not None:
            return False
        inner = found.ipv4_mapped or found.sixtofour
        if inner is not None:
            return is_public(str(inner))
    is_special = found.is_private or found.is_loopback or found.is_link_local or found.is_multicast
    return bool(found.is_global and not is_special and not found.is_reserved and not found.is_unspecified)


def _checked(url: str) -> SplitResult:
    """The parts of an address that may be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressError("bad-address", f"{masked_address(url)} is not an address: {error}.") from error
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if len(url) > URL_LENGTH_MAX or not is_plain or parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise AddressError(
            "bad-address",
            f"{masked_address(url)} cannot be asked: expected http:// or https://, a host and a path, at most {URL_LENGTH_MAX} "
            "printable characters of ASCII; others as %20 or xn--.",
        )
    if parts.username is not None or parts.password is not None:
        raise AddressError("bad-address", "The address holds a user's name or password: leave them out.")
    return parts


def _read(url: str, response: HTTPResponse, size_bytes_max: int) -> OutboundAnswer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise AddressError("address-failed", f"{_host(url)} answered compressed, although nobody asked for that.")
    body = bytearray()
    if response.status not in _REDIRECTS:
        if response.length is not None and response.length > size_bytes_max:
            raise _too_large(url, f"{response.length} bytes", size_bytes_max)
        while chunk := response.read(_CHUNK_SIZE_BYTES):
            body += chunk
            if len(body) > size_bytes_max:
                raise _too_large(url, f"more than {size_bytes_max} bytes", size_bytes_max)
        if response.length:
            raise AddressError("address-failed", f"{_host(url)} broke off: {response.length} bytes are missing.")
    return OutboundAnswer(url, response.status, headers, bytes(body))


def _too_large(url: str, found: str, size_bytes_max: int) -> AddressError:
    return AddressError("too-large", f"What {_host(url)} holds has {found}, at most {size_bytes_max} are taken.")


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2][:200]
