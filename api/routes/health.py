"""Health and metrics, for supervisors and Prometheus."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.answers.health import Health
from api.answers.problems import describe_problems
from api.live.index_state import index_answer, stall_answer
from api.live.services import services_of

router = APIRouter()


@router.get("/livez", response_class=PlainTextResponse, responses=describe_problems())
async def livez() -> str:
    """The process runs."""
    return "ok\n"


@router.get("/readyz", responses=describe_problems(503))
async def readyz(request: Request) -> Health:
    """Searches can be answered: there is a generation. A dependency that is away does not hinder that."""
    services = services_of(request)
    dependencies = services.dependencies()
    away = {name for name, is_up in dependencies.items() if not is_up}
    return Health(
        ready=True,
        generation=services.snapshot().manifest.generation,
        dependencies=dependencies,
        degraded=sorted(away.union(services.stalled_parts())),
        stalled=stall_answer(services),
    )


@router.get("/metrics", response_class=PlainTextResponse, responses=describe_problems())
async def metrics(request: Request) -> Response:
    """Metrics of the process that answers, in Prometheus' text format."""
    services = services_of(request)
    if services.served.snapshot is not None:
        index_answer(services)  # sets the gauges of age and lag
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
