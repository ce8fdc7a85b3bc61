# syntax=docker/dockerfile:1
# The image of a release: the static program of `cargo xtask dist image` on a base that has root certificates and no shell.
# .github/workflows/release.yml builds it for amd64 and arm64, in target/artefacts; deploy/Dockerfile compiles one instead.
FROM gcr.io/distroless/static-debian12:nonroot
ARG TARGETARCH
# Its folders /data and /etc/chat-memory belong to the user below: a new volume takes the owner over.
ADD image/${TARGETARCH}.tar /

# Variables rather than flags, so that `docker run -e` can override them.
ENV CHAT_MEMORY_STORE=sqlite:/data/chats.db \
    CHAT_MEMORY_LISTEN=0.0.0.0:8080 \
    CHAT_MEMORY_LOG_FORMAT=json

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# No HEALTHCHECK: there is no shell to run it. Ask GET /readyz from outside, as Kubernetes and load balancers do.
ENTRYPOINT ["/usr/local/bin/chat-memory"]
# If the keys come from a variable, the command is just `serve`.
CMD ["serve", "--keys", "/etc/chat-memory/keys.toml"]
