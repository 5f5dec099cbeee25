# docker build -t ckptdoctor . && docker run --rm -v "$PWD:/data:ro" ckptdoctor inspect /data/run
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY ckptdoctor ckptdoctor
RUN python -m venv /opt/ckptdoctor && /opt/ckptdoctor/bin/pip install --no-cache-dir ".[remote,scan]"

FROM python:3.12-slim
COPY --from=build /opt/ckptdoctor /opt/ckptdoctor
RUN useradd --system --no-create-home ckptdoctor
USER ckptdoctor
WORKDIR /data
ENTRYPOINT ["/opt/ckptdoctor/bin/ckptdoctor"]
CMD ["--help"]
