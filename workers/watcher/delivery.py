"""One attempt to send a match to a webhook: signed, and never redirected. `runtime.outbound` says where it may go."""

import hashlib
import hmac

from runtime.outbound import AddressError, Outbound

ATTEMPT_S = 10.0
SIGNATURE_HEADER = "Lookalike-Signature"


def signature(secret: str, body: bytes, time_s: int) -> str:
    """The header's value: the time, and the HMAC-SHA256 of `TIME.BODY` by which a receiver knows who sent it."""
    told = hmac.new(secret.encode(), f"{time_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={time_s},v1={told}"


def send(outbound: Outbound, address: str, body: bytes, *, secret: str, time_s: int) -> str:
    """Post `body` to a webhook; returns "" when it was taken, else why not. Blocks."""
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature(secret, body, time_s)}
    try:
        status = outbound.post(address, body, headers).status
    except AddressError as error:
        return f"{error.code}: {error.detail}"
    return "" if 200 <= status < 300 else f"status {status}"
