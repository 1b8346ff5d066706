"""Which format a picture is in, told by its first bytes: names, headers and file endings say nothing that could be relied on."""

FORMATS = "PNG, JPEG, WebP, AVIF, HEIC, GIF, BMP or TIFF"
MEDIA_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/avif",
    "image/heic",
    "image/gif",
    "image/bmp",
    "image/tiff",
)

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"II+\0": "image/tiff",  # BigTIFF, with offsets of 8 bytes
    b"MM\0+": "image/tiff",
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
# Sizes of the headers that a bitmap may have: text may well begin with BM.
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_BRANDS_SIZE_BYTES_MAX = 256


def media_type_of(value: bytes) -> str | None:
    """The media type of a picture, None where the bytes begin like none that can be read."""
    for signature, media_type in _SIGNATURES.items():
        if value.startswith(signature):
            return media_type
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        return "image/webp"
    if value[:2] == b"BM" and int.from_bytes(value[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if value[4:8] == b"ftyp":
        return _media_type_of_brands(value)
    return None


def _media_type_of_brands(value: bytes) -> str | None:
    """Of a file in boxes, which may as well be a film; the first brand is the major one, the others are compatible."""
    end = min(int.from_bytes(value[:4], "big"), len(value), _BRANDS_SIZE_BYTES_MAX)
    brands = [value[8:12], *(value[at : at + 4] for at in range(16, end, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "image/avif"
        if brand in _HEIC_BRANDS:
            return "image/heic"
    return None
