"""`/v1/session`: which key asks; and signing in, for browsers, whose images and event streams send no key of their own."""

from fastapi import APIRouter, Request, Response

from api.access.guard import COOKIE, access_of
from api.access.keys import SCOPES
from api.answers.problems import describe_problems
from api.answers.session import SessionAnswer
from api.live.collections import collections_of
from api.routes.writers import check_writer
from contract.collections import DEFAULT_COLLECTION

router = APIRouter()


@router.get("/session", responses=describe_problems(401))
async def session(request: Request) -> SessionAnswer:
    """What the key that this request is sent with is good for."""
    key = access_of(request).key
    if key is None:
        return SessionAnswer(key=None, name=None, scopes=list(SCOPES), collections=None)
    collections = None if key.collections is None else sorted(key.collections)
    return SessionAnswer(key=key.id, name=key.name, scopes=sorted(key.scopes), collections=collections)


@router.post("/session", responses=describe_problems(401, 403))
async def sign_in(request: Request, response: Response) -> SessionAnswer:
    """Have the browser send the key of this request's Authorization by itself, until it is closed.

    It keeps the key in a cookie that no script reads and no other site's page has sent.
    """
    given = request.headers.get("authorization", "").partition(" ")[2].strip()
    if given and access_of(request).key is not None:
        _set_cookie(request, response, given)
    return await session(request)


@router.delete("/session", status_code=204, responses=describe_problems(401, 403))
async def sign_out(request: Request, response: Response) -> None:
    """Have the browser forget its key. The key stays good elsewhere."""
    check_writer(request, collections_of(request).of(DEFAULT_COLLECTION).settings.api_allowed_hosts)
    _set_cookie(request, response, "")


def _set_cookie(request: Request, response: Response, key: str) -> None:
    response.set_cookie(
        COOKIE,
        key,
        max_age=None if key else 0,
        path=f"{request.scope.get('root_path', '')}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    response.headers["Cache-Control"] = "no-store"
