import { readFile } from 'node:fs/promises';
import type { Check } from './api/admin.ts';
import { startAdmin } from './api/admin.ts';
import { startGrpc } from './api/grpc.ts';
import { createEdge } from './api/handle.ts';
import { limitsOf } from './api/limits.ts';
import { startRest } from './api/rest.ts';
import { warmValidation } from './api/warm.ts';
import { openAuditSink } from './audit/sinks.ts';
import { createOidcCallers } from './callers/oidc.ts';
import { plainTextHosts } from './callers/settings.ts';
import { loadConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { formats } from './formats/formats.ts';
import { giveBackWhatTheStartTook } from './give-back.ts';
import { assertFipsKeys } from './fips-start.ts';
import { createAmbientIdentities } from './keys/ambient-identities.ts';
import { openKeyring } from './keys/keyring.ts';
import { addressOf, listen, renewable } from './listen.ts';
import { createHttpClient, type HttpClientOptions } from './net/http.ts';
import { observeAudit, observeDecide, observeKeys, observeLease, observeRegistry } from './observed.ts';
import { openPolicy } from './open-policy.ts';
import { loadCredentials } from './registry/credentials.ts';
import { namedRegistry } from './registry/named.ts';
import { openLease } from './registry/leases/open.ts';
import { createRegistry } from './registry/registry.ts';
import { renewCertificates } from './renew-certificates.ts';
import { createService } from './service.ts';
import { createRepeats } from './signing/repeats.ts';
import { createLogger, flushLog, type Logger } from './telemetry/log.ts';
import { lagCheck } from './telemetry/lag.ts';
import { injectHeaders } from './telemetry/spans.ts';
import { startTelemetry } from './telemetry/start.ts';
import { warmUp } from './warm-up.ts';

/** `host:port` of each listener that the configuration names. */
export type Addresses = {
  readonly grpc: string | undefined;
  readonly rest: string | undefined;
  readonly admin: string | undefined;
};

export type RunningService = {
  readonly addresses: Addresses;
  /**
   * Reads the policy and the listeners' TLS files again and opens the audit file anew; what has mistakes is logged, and what was
   * there stays.
   */
  reload(): Promise<void>;
  /** Drains: not ready, no new connections, requests under way finish within `drainMs`; then everything is closed. */
  stop(): Promise<void>;
};

/**
 * Builds the service from its configuration and starts its listeners. The only place that constructs adapters.
 * Rejects with CountersignError when anything that must be there at the start is not: TLS files, policy, audit log,
 * a port. Keys and issuers that are out of reach do not stop it: they are tried again when they are needed.
 */
export const startService = async (
  config: Config,
  logger: Logger = createLogger(config.telemetry.log),
): Promise<RunningService> => {
  // Whatever was opened is closed again, last first: when the start fails, and at the end.
  await using opened = new AsyncDisposableStack();
  const build = { version: await ownVersion() };
  const telemetry = await startTelemetry(config.telemetry, build, (problem) => logger.warn({ problem }, 'telemetry'));
  opened.defer(() => telemetry.shutdown());
  const audit = await openAuditSink(config.audit);
  opened.defer(() => audit.close());
  const policy = await openPolicy(config);
  const outbound = await outboundOptions(config);
  const { plainHttpHosts, tries, allow, destinations, settleMs } = config.registry;
  const { allowPrivate } = config.outbound;
  const identities = createAmbientIdentities({
    createHttp: (options) =>
      createHttpClient({ ...outbound, ...options, allowPrivate: [...allowPrivate, ...(options.allowPrivate ?? [])] }),
  });
  opened.defer(() => identities.close());
  // Token services of clouds are where the configuration says, so they may be at a private address, as behind a private endpoint.
  const tokenHttp = createHttpClient({ ...outbound, plainHttpHosts: [] });
  opened.defer(() => tokenHttp.close());
  const { credentials, names } = await loadCredentials(config.registry, {
    http: tokenHttp,
    identities,
    warn: (problem) =>
      logger.warn({ err: problem }, 'a file of registry credentials changed, and what it said before counts'),
  });
  // Callers say which registry is asked, and registries what is asked next: only what is named may be at a private address.
  const named = namedRegistry(config.registry, names, () => policy.repositories());
  const http = createHttpClient({ ...outbound, plainHttpHosts, named });
  const lease =
    config.registry.lease &&
    observeLease(
      await openLease(config.registry.lease, {
        allowPrivate,
        told: (problem) =>
          problem === undefined
            ? logger.info({}, 'leases can be had')
            : logger.warn({ err: problem }, 'no leases can be had: signatures at tags fail meanwhile'),
        warn: (problem) =>
          logger.warn({ err: problem }, 'the password file of registry.lease changed; the old one counts'),
      }),
    );
  opened.defer(async () => lease?.close());
  const registry = createRegistry({
    http,
    credentials,
    plainHttpHosts,
    allowPrivate,
    allow,
    destinations,
    settleMs,
    tries,
    lease,
  });
  opened.defer(() => registry.close());
  const issuerHttp = createHttpClient({ ...outbound, plainHttpHosts: plainTextHosts(config.callers) });
  opened.defer(() => issuerHttp.close());
  const callers = createOidcCallers(config.callers, { http: issuerHttp });
  const keyring = openKeyring(
    config.keys,
    {
      createHttp: (options) =>
        createHttpClient({
          ...options,
          allowPrivate: [...allowPrivate, ...(options.allowPrivate ?? [])],
          headers: injectHeaders,
        }),
    },
    { fips: config.fips },
  );
  opened.defer(() => keyring.close());
  if (config.fips) await assertFipsKeys(keyring, logger);
  const service = createService({
    callers: [callers],
    keyNames: keyring.names,
    signing: {
      decide: observeDecide((question) => policy.decide(question)),
      keys: observeKeys(keyring, config.keys),
      formats,
      registry: observeRegistry(registry),
      audit: observeAudit(audit),
      now: () => new Date(),
      repeats: createRepeats(),
      record: config.signing.record,
    },
  });
  warmValidation();

  const { drainMs, ...bounds } = config.limits;
  const limits = limitsOf(bounds);
  const stopping = new AbortController();
  const edge = createEdge(service, logger, limits, stopping.signal);
  const warm = warmUp({ callers, issuerCount: config.callers.oidc.length, keyring, logger });
  opened.defer(() => warm.stop());
  const lag = lagCheck();
  opened.defer(() => lag.stop());
  let draining = false;
  const ready = (): readonly Check[] => [
    { name: 'serving', ok: !draining, detail: draining ? 'draining' : 'serving' },
    { name: 'audit', ok: audit.healthy(), detail: audit.healthy() ? 'writable' : 'records cannot be written' },
    { name: 'issuers', ok: warm.issuers(), detail: warm.issuers() ? 'keys known' : 'no issuer has been reached yet' },
    lag.check(),
  ];

  const { listeners } = config;
  const admin = await listen(listeners.admin, ({ address }) =>
    startAdmin({ address, ready, metrics: telemetry.metricsHandler, version: { ...build, node: process.version } }),
  );
  opened.defer(async () => admin?.close());
  const grpc = await listen(listeners.grpc, (where) => startGrpc({ edge, limits, ...where }));
  opened.defer(async () => grpc?.close(0));
  const rest = await listen(listeners.rest, (where) => startRest({ edge, limits, ...where }));
  opened.defer(async () => rest?.close(0));
  const addresses: Addresses = {
    grpc: addressOf(listeners.grpc, grpc),
    rest: addressOf(listeners.rest, rest),
    admin: addressOf(listeners.admin, admin),
  };
  const renewal = renewCertificates(
    [...renewable('grpc', listeners.grpc, grpc), ...renewable('rest', listeners.rest, rest)],
    logger,
  );
  opened.defer(() => renewal.stop());
  warm.openKeys();
  logger.info({ ...addresses, keys: keyring.names().length, policy: policy.hash() }, 'countersign serves');

  const running = opened.move();
  const stop = async (): Promise<void> => {
    draining = true;
    grpc?.setServing(false);
    logger.info({ drainMs, inFlight: edge.limiter.inFlight, batches: edge.batchLimiter.inFlight }, 'draining');
    // The other half is for the items that have begun by then, and for saying of the rest that they have not.
    const noMore = setTimeout(() => stopping.abort(), drainMs / 2);
    await Promise.all([grpc?.close(drainMs), rest?.close(drainMs)]);
    clearTimeout(noMore);
    await running.disposeAsync();
    logger.info({}, 'stopped');
  };
  let stopped: Promise<void> | undefined;
  return {
    addresses,
    reload: async () => {
      await audit.reopen?.();
      await renewal.look();
      await policy.reload(logger);
    },
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
};

/**
 * `countersign serve`: runs until SIGTERM or SIGINT, answers the exit code. A second signal ends the process at once;
 * SIGHUP reloads the policy and the TLS files and opens the audit file anew.
 */
export const serve = async (configPath: string): Promise<number> => {
  const config = await loadConfig(configPath, process.env);
  const logger = createLogger(config.telemetry.log);
  const service = await startService(config, logger);
  giveBackWhatTheStartTook();
  process.on('SIGHUP', () => {
    service.reload().catch((error: unknown) => logger.error({ err: error }, 'reload failed'));
  });
  await new Promise<void>((resolve) => {
    let asked = false;
    const end = (signal: NodeJS.Signals): void => {
      if (asked) {
        logger.warn({ signal }, 'second signal: ending at once');
        process.exit(128 + (signal === 'SIGINT' ? 2 : 15));
      }
      asked = true;
      logger.info({ signal }, 'shutting down');
      resolve();
    };
    process.on('SIGTERM', end);
    process.on('SIGINT', end);
  });
  await service.stop();
  await flushLog(logger);
  return 0;
};

const ownVersion = async (): Promise<string> => {
  const manifest: unknown = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
};

const outboundOptions = async (config: Config): Promise<Omit<HttpClientOptions, 'plainHttpHosts'>> => ({
  ca: await Promise.all(config.outbound.caFiles.map((file) => readFile(file, 'utf8'))),
  allowPrivate: config.outbound.allowPrivate,
  headers: injectHeaders,
});
