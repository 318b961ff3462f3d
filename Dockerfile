# One image for every process of Sluice; the command says which one it is (docker-compose.yml has them all):
#   node services/{ingest,router-worker,batch-worker,notifier}/src/main.ts
#   node emulators/{amqp,cosmos,signalr,openai}/src/main.ts     local stand-ins, never in production
#   node stack/src/provision.ts                                 once, before the services of a local stack
#
# Sources run as they are: Node strips the types of files outside node_modules only, so the packages of the workspace
# stay where they are and node_modules/@sluice keeps links to them. Do not copy node_modules with links followed.

FROM node:24-slim AS manifests
WORKDIR /app
COPY . .
# What remains changes only when a dependency does, and with it the layer of `npm ci` below.
RUN find . -type f ! -name package.json ! -name package-lock.json ! -name .npmrc -delete \
  && find . -type d -empty -delete

FROM node:24-slim
WORKDIR /app
COPY --from=manifests /app ./
# The one package with an install script, msgpackr-extract, brings its binaries in packages of their own.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force
COPY . .
# A fresh volume that is mounted here takes over the folder's owner.
RUN mkdir /data && chown node:node /data
USER node
# Probes and metrics are asked for from outside of the container.
# Threads are what names are resolved on: receivers whose names do not resolve must not hold up the others.
ENV HOST=0.0.0.0 HEALTH_HOST=0.0.0.0 UV_THREADPOOL_SIZE=64
CMD ["node", "--max-semi-space-size=64", "--no-allocation-site-pretenuring", "services/ingest/src/main.ts"]
