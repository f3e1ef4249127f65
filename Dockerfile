# syntax=docker/dockerfile:1
# tune_qat in a container, with the versions of constraints.txt. docs/install.md says how to mount data and results.
#
#   docker build --tag tune-qat .                                  for CPUs
#   docker build --tag tune-qat:cuda --build-arg DEVICE=cuda .     for NVIDIA GPUs

FROM python:3.11-slim-bookworm AS build
ARG DEVICE=cpu
WORKDIR /src
COPY . .
RUN python -m venv /opt/tune_qat
# torch's usual wheels bring CUDA, several GB; those for CPUs come from its own index.
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$DEVICE" in \
      cpu) export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu ;; \
      cuda) ;; \
      *) echo "DEVICE is cpu or cuda, but got $DEVICE" >&2; exit 2 ;; \
    esac \
    && /opt/tune_qat/bin/python -m pip install --constraint constraints.txt '.[analysis]'
RUN /opt/tune_qat/bin/tune-qat --version

FROM python:3.11-slim-bookworm
# Inductor compiles training steps with it; without a compiler they are eager.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 study \
    && install --directory --owner=study /study
COPY --from=build /opt/tune_qat /opt/tune_qat
# The name is asked for by libraries, also under a number of another user (docker run --user).
ENV PATH=/opt/tune_qat/bin:$PATH \
    USER=study \
    RAY_USAGE_STATS_ENABLED=0 \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /study
ENTRYPOINT ["tune-qat"]
CMD ["--help"]
