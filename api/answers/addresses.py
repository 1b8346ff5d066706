"""Queries that are pictures elsewhere: fetched once, within limits, and never from inside the network."""

from api.answers.bounded_work import BoundedWork
from api.answers.problems import ProblemError
from contract.messages import IMAGE_SIZE_BYTES_MAX
from contract.settings import Settings
from runtime.outbound import AddressError, Outbound

FETCH_S_MAX = 10.0
# Each may hold 32 MiB and a thread for ten seconds.
FETCHES_MAX = 4
FETCHES_WAITING_MAX = 16
_STATUS_OF_CODE = {"bad-address": 400, "forbidden-address": 403, "too-large": 413, "address-failed": 502}


class PictureAddresses:
    """Fetches what an address holds. Used on the event loop only."""

    def __init__(self, settings: Settings) -> None:
        self.are_searched = settings.search_by_address
        self._outbound = Outbound(allow_private=settings.private_addresses, timeout_s=FETCH_S_MAX)
        self._fetches = BoundedWork(FETCHES_MAX, FETCHES_WAITING_MAX)

    def check(self) -> None:
        """Check that queries may name addresses.

        Raises:
            ProblemError: 403 ``address-search-off``.
        """
        if not self.are_searched:
            raise ProblemError(
                403,
                "address-search-off",
                "This API fetches no addresses: send the image itself, or set LOOKALIKE_SEARCH_BY_ADDRESS=true.",
            )

    async def fetch(self, url: str) -> bytes:
        """What an address holds; whether that is a picture is for the decoder to say.

        Raises:
            ProblemError: 400 ``bad-address``, 403 ``forbidden-address``, 413 ``too-large``, 502 ``address-failed``,
                503 ``busy``.
        """
        try:
            answer, _ = await self._fetches.run(lambda: self._outbound.get(url, IMAGE_SIZE_BYTES_MAX))
        except AddressError as error:
            raise ProblemError(_STATUS_OF_CODE[error.code], error.code, error.detail) from error
        return answer.body
