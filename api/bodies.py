"""Request bodies of bounded size: raw, JSON or multipart."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.problems import ProblemError
from contract.messages import IMAGE_SIZE_BYTES_MAX

# Room for a form's boundaries, names and metadata beside the image.
FORM_OVERHEAD_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Upload:
    """An image as it was sent, and the form field `metadata` if there was one."""

    value: bytes
    metadata: str | None


def content_type(request: Request) -> str:
    """The request's media type in lower case without parameters, "" when it says none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_upload(request: Request) -> Upload:
    """The image of a raw or multipart request.

    Raises:
        ProblemError: 413 ``too-large``, 415 ``unsupported-content-type``, 400 ``bad-multipart``.
    """
    kind = content_type(request)
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return Upload(await read_body(request, IMAGE_SIZE_BYTES_MAX), None)
    raise ProblemError(
        415,
        "unsupported-content-type",
        f"The request's Content-Type is {kind!r}; send the image itself as image/png, image/jpeg or image/webp, or as "
        "the field file of multipart/form-data.",
    )


async def read_body(request: Request, size_bytes_max: int) -> bytes:
    """The whole body.

    Raises:
        ProblemError: 413 ``too-large``, at once where Content-Length says so, else as soon as too much has come.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > size_bytes_max:
        raise _too_large(f"{declared} bytes", size_bytes_max)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > size_bytes_max:
            raise _too_large(f"more than {size_bytes_max} bytes", size_bytes_max)
    return bytes(body)


async def _read_form(request: Request) -> Upload:
    body = await read_body(request, IMAGE_SIZE_BYTES_MAX + FORM_OVERHEAD_BYTES_MAX)

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, once(), max_files=1, max_fields=1, max_part_size=FORM_OVERHEAD_BYTES_MAX)
    parser.spool_max_size = len(body)  # the body is in memory already: never write it to disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ProblemError(
            400, "bad-multipart", f"The body is not multipart/form-data: {error}. Send one file field named file."
        ) from error
    try:
        file, metadata = form.get("file"), form.get("metadata")
        if not isinstance(file, UploadFile) or isinstance(metadata, UploadFile):
            raise ProblemError(
                400, "bad-multipart", f"The form has the fields {sorted(form)}, expected a file field named file."
            )
        return Upload(await file.read(), metadata)
    finally:
        await form.close()


def _too_large(found: str, size_bytes_max: int) -> ProblemError:
    return ProblemError(
        413, "too-large", f"The body has {found}, at most {size_bytes_max} are taken. Send a smaller image."
    )
