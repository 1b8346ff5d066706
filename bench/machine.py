"""The machine and the versions of libraries that a figure was measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

PACKAGES = (
    "numpy", "numba", "scikit-learn", "faiss-cpu", "hnswlib", "usearch", "lancedb", "qdrant-client", "chromadb", "pymilvus", "milvus-lite",
    "faust-streaming", "kafka-python", "cassandra-driver", "ai-edge-litert", "pillow", "fastapi", "uvicorn",
)  # fmt: skip


def machine() -> dict[str, object]:
    """Processor, cores, memory, system, and how busy others kept it when the measurement began."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Versions of what takes part, "absent" for what is not installed."""
    return {package: version(package) for package in PACKAGES}


def version(package: str) -> str:
    """The installed version, or "absent"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"
