# The programs of lookalike in one image: docker build -t lookalike .
# TensorFlow is not in it: only training needs that.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
COPY requirements.lock .
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin lookalike \
    && install -d -o lookalike -g lookalike /var/lib/lookalike/index \
    && install -d -o lookalike -g lookalike -m 700 /var/lib/lookalike/keys
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
RUN /opt/venv/bin/python -m compileall -q .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app/clients/python \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=262144 \
    MALLOC_TRIM_THRESHOLD_=262144 \
    LOOKALIKE_INDEX_DIR=/var/lib/lookalike/index \
    LOOKALIKE_KEYS_FILE=/var/lib/lookalike/keys/keys.json \
    LOOKALIKE_VAR_DIR=/tmp
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["api", "serve"]
