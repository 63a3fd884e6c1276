# Gatehouse as an image: Node, the libraries it loads, and the files that were reviewed. There is no
# shell, no package manager and no setuid file in it. docs/deployment.md says how to run it.

# The tag is for people, the digest decides. It must be a Node that package.json `engines` names.
ARG NODE_IMAGE=docker.io/library/node:24.21.0-trixie-slim@sha256:8ec5d7557396cfe32d21c3f9c13072355ceab22b584578ca4bb28af31120cffe

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY tools/node-runtime/package.json tools/node-runtime/package.json
RUN ["npm", "ci", "--omit=dev"]
COPY deploy/runtime-root.ts /build/
RUN ["node", "/build/runtime-root.ts", "/build/root"]

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Gatehouse" \
      org.opencontainers.image.description="A security-hardened server for the Model Context Protocol" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /build/root /
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY package.json LICENSE ./
COPY policies policies
COPY src src

# Numeric, so that Kubernetes can see that it is not root.
USER 1000:1000
ENV NODE_ENV=production \
    PATH=/usr/local/bin

# What it listens on is decided where it runs: HOST is loopback until told otherwise.
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "src/cli/healthcheck.ts"]

# Defence in depth: no code from strings, no native code, no inspector, no child processes, no worker
# threads; of the files only those below are read, and only audit files are written. The heap ends
# before the memory of the container does. --frozen-intrinsics works as well, but Node calls it an
# experiment.
ENTRYPOINT ["node", \
  "--disable-proto=delete", \
  "--disallow-code-generation-from-strings", \
  "--no-addons", \
  "--disable-sigusr1", \
  "--max-old-space-size-percentage=70", \
  "--max-semi-space-size=16", \
  "--permission", \
  "--allow-fs-read=/app", \
  "--allow-fs-read=/etc/gatehouse", \
  "--allow-fs-read=/run/secrets", \
  "--allow-fs-read=/proc/self/limits", \
  "--allow-fs-read=/var/log/gatehouse", \
  "--allow-fs-write=/var/log/gatehouse"]
CMD ["src/main.ts"]
