"""A query and stored thumbnails compared as photographs are; amounts and alignments are in the pixels of the pictures themselves."""

from PIL import Image

from contract.errors import RejectedError
from model.pictures.images import decode
from model.pictures.pillow import as_rgb
from model.verdicts.frames import UNREADABLE, Explained, Shown
from model.verdicts.photographs.explanation import explain_photograph
from model.verdicts.photographs.view import FeatureLimits, View

QUERY_SIDE_PX, MATCH_SIDE_PX = 512, 256
# What a match's features cost is paid ten times: at 256 pixels they cost twice as much and find two copies of 60 more.
QUERY_LIMITS, MATCH_LIMITS = FeatureLimits(448, 450), FeatureLimits(176, 180)


class PhotoQuery:
    """A query that is explained by matches: `image`, of a picture of `size` (w, h), of which it may be a thumbnail."""

    def __init__(self, image: Image.Image, size: tuple[int, int]) -> None:
        self._view = View(as_rgb(image), size, QUERY_SIDE_PX, QUERY_LIMITS)

    def explained(self, match: Shown, hypothesis: str) -> Explained:
        """What the query is to a match; the alignment is looked for first where the hypothesis found it."""
        try:
            picture = decode(match.image)
        except RejectedError:
            return UNREADABLE
        stored = View(as_rgb(picture.image), (match.width, match.height), MATCH_SIDE_PX, MATCH_LIMITS)
        return explain_photograph(self._view, stored, hypothesis)
