# Two stages: build with what only the build needs, ship the binary alone.
# The lines between the markers are replayed by scripts/replay-dockerfile, so keep
# each a single RUN that uses no build argument and no mount.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# replay:begin apt
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
# replay:end
COPY . .
# replay:begin build
RUN cargo install --path . --locked --profile dist --root /out
RUN mkdir -p /out/data
# replay:end

FROM debian:bookworm-slim
# No shell, package or account of ours: a fixed unprivileged user id is enough.
COPY --from=build /out/bin/portcullis /usr/local/bin/portcullis
COPY --from=build --chown=10001:10001 /out/data /var/lib/portcullis
USER 10001:10001
WORKDIR /var/lib/portcullis
STOPSIGNAL SIGTERM
# The orchestrator probes /livez and /readyz (edge) or /health/live and
# /health/ready (auth) itself; a health check inside the image would be a second opinion.
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["--help"]
