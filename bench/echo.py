"""What FastAPI and uvicorn cost without us: `python -m bench.echo BYTES` serves one route, which reads a body and answers so many bytes."""

import sys
from functools import partial

from fastapi import FastAPI, Request, Response

from api.server import serve
from contract.settings import load_settings


def echo_app(answer: bytes) -> FastAPI:
    """An application that answers every search with `answer`, once it has read the body."""
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.post("/v1/search")
    async def echo(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    return app


if __name__ == "__main__":
    sys.exit(serve(load_settings(), 1, partial(echo_app, bytes(int(sys.argv[1])).replace(b"\0", b" "))))
