# lokirs in an image of its own: one binary, the configuration files, a user without rights.
#   docker build -t lokirs .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p lokirs

FROM debian:bookworm-slim
# tini forwards signals and reaps: SIGTERM reaches the process, which then stores what is in memory.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data lokirs \
    && install --directory --owner=lokirs /data
COPY --from=build /src/target/release/lokirs /usr/bin/lokirs
COPY config/local.yaml config/cluster.yaml config/limits.yaml /etc/lokirs/
USER 10001
WORKDIR /
VOLUME /data
EXPOSE 3100 9095 7946/udp
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s CMD ["/usr/bin/lokirs", "-health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/bin/lokirs"]
CMD ["-config.file=/etc/lokirs/local.yaml"]
