# countersign in a container: non-root, read-only root filesystem, no shell and no build tools in the result.
#
#   docker build -t countersign .
#   docker run --read-only --tmpfs /tmp -v ./config:/etc/countersign:ro -p 8080:8080 -p 8081:8081 countersign
ARG BUILD_IMAGE=node:24-trixie-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No install scripts run; the Node of the runtime image is used, so the optional platform packages stay out.
# PKCS11=true adds the native part of pkcs11js, for keys in PKCS#11 tokens: it is built here, the result has no build tools.
ARG PKCS11=false
RUN if [ "$PKCS11" = true ]; then \
      apt-get update && apt-get install -y --no-install-recommends g++ make python3 && \
      npm ci --omit=dev --ignore-scripts --no-audit --no-fund && rm -rf node_modules/node-linux-* node_modules/.bin/node && \
      npm run build:pkcs11 && rm -rf node_modules/pkcs11js/src node_modules/pkcs11js/build/Release/obj.target; \
    else npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund; fi && rm -f .npmrc package-lock.json
COPY src ./src
# What a start would do anew each time on a read-only filesystem: strip types and compile. The flag belongs to the cache's key.
ENV NODE_COMPILE_CACHE=/app/.compile-cache
RUN node --max-semi-space-size=16 --initial-old-space-size=128 --v8-pool-size=1 --input-type=module --eval "\
  import { globSync } from 'node:fs'; \
  for (const file of ['src/serve.ts', 'src/keys/crypto-thread/thread.ts', ...globSync('src/*/*.ts')]) await import('/app/' + file);"
# Whatever the umask of the clone was, the user of the result can read it.
RUN chmod -R a+rX package.json src .compile-cache

FROM ${RUNTIME_IMAGE}
WORKDIR /app
COPY --from=build /app /app
ENV NODE_ENV=production NODE_COMPILE_CACHE=/app/.compile-cache
USER 65532:65532
# gRPC, REST, admin (health and metrics)
EXPOSE 8080 8081 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["/nodejs/bin/node", "/app/src/countersign.js", "health"]
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=16", "--initial-old-space-size=128", "--v8-pool-size=1", "/app/src/countersign.js"]
CMD ["serve", "--config", "/etc/countersign/config.yaml"]
