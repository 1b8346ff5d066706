"""Health and metrics, for supervisors and Prometheus."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from api.answers.health import Health
from api.answers.problems import describe_problems
from api.live.collections import collections_of, services_of
from api.live.index_state import index_answer, stall_answer
from contract.telemetry import metrics_text

router = APIRouter()


@router.get("/livez", response_class=PlainTextResponse, responses=describe_problems())
async def livez() -> str:
    """The process runs."""
    return "ok\n"


@router.get("/readyz", responses=describe_problems(503))
async def readyz(request: Request) -> Health:
    """Searches can be answered: `default` has a generation, or, where it is not used, some other collection has.

    A dependency that is away does not hinder that.
    """
    services = services_of(request)
    if not any(each.served.snapshot for each in collections_of(request).all()):
        services.snapshot()  # says what is missing
    dependencies = services.dependencies()
    away = {name for name, is_up in dependencies.items() if not is_up}
    return Health(
        ready=True,
        generation=services.served.snapshot.manifest.generation if services.served.snapshot else None,
        dependencies=dependencies,
        degraded=sorted(away.union(*(each.stalled_parts() for each in collections_of(request).all()))),
        stalled=stall_answer(services),
    )


@router.get("/metrics", response_class=PlainTextResponse, responses=describe_problems())
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format, of all processes that share the port."""
    for services in collections_of(request).all():
        if services.served.snapshot is not None:
            index_answer(services)  # sets the gauges of age and lag
    return Response(metrics_text(), media_type=CONTENT_TYPE_LATEST)
