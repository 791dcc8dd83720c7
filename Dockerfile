# syntax=docker/dockerfile:1
#
# One image for each service, with nothing in it but a static program and the certificate authorities:
#
#   docker build --build-arg SERVICE=api-gateway    -t quayside/api-gateway:0.1.0 .
#   docker build --build-arg SERVICE=job-dispatcher -t quayside/job-dispatcher:0.1.0 .
#   docker build --build-arg SERVICE=log-finalizer  -t quayside/log-finalizer:0.1.0 .
#
# one for what stands beside a process's container:
#
#   docker build --target companion -t quayside/companion:0.1.0 .
#
# and, for docker-compose.yml only, a dispatcher that can run jobs in its own container:
#
#   docker build --target local-dispatcher -t quayside/local-dispatcher:0.1.0 .
#
# Not tested. Base images are named by tag, not by digest.

FROM rust:1.95.0-alpine AS build
# The toolchain of this image instead of what rust-toolchain.toml would install beside it.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /quayside
COPY . .
# Alpine's Rust links statically with musl. All three at once: they share nearly all that is compiled.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/quayside/target \
    cargo build --locked --release --package api-gateway --package job-dispatcher --package log-finalizer \
 && cargo build --locked --profile small --package quayside-companion \
 && mkdir -p /out/jobs \
 && cp target/release/api-gateway target/release/job-dispatcher target/release/log-finalizer target/small/quayside-companion /out/

# The local executor ignores images: each process's command runs in the dispatcher's own container, with what is
# installed there. The example configuration needs sh and bash.
FROM alpine:3.22 AS local-dispatcher
RUN apk add --no-cache bash
COPY --from=build /out/job-dispatcher /job-dispatcher
COPY --from=build --chown=65532:65532 /out/jobs /var/lib/quayside/local
USER 65532:65532
ENTRYPOINT ["/job-dispatcher"]

# Who it runs as is said by the pod.
FROM scratch AS companion
COPY --from=build /out/quayside-companion /quayside-companion
COPY LICENSE NOTICE /
ENTRYPOINT ["/quayside-companion"]

FROM scratch AS service
ARG SERVICE
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Only docker-compose.yml mounts something here: a new volume takes the owner of this folder.
COPY --from=build --chown=65532:65532 /out/jobs /var/lib/quayside/local
COPY --from=build /out/${SERVICE} /service
COPY LICENSE NOTICE /
USER 65532:65532
ENTRYPOINT ["/service"]
