import type { AuditSink } from './audit/port.ts';
import type { Decision, Question } from './model/decision.ts';
import { toCountersignError } from './model/error.ts';
import { repositoryName, type ResolvedImage } from './model/subject.ts';
import type { HeldKey } from './keys/key-source.ts';
import type { Registry } from './registry/port.ts';
import type { KeysByName } from './signing/ports.ts';
import type { Lease } from './registry/lease.ts';
import {
  type Leg,
  recordDecision,
  recordKeyError,
  recordLeaseWait,
  recordLeg,
  recordRegistryError,
} from './telemetry/metrics.ts';
import { tracingEnabled, withClientSpan, withSpan, withSyncSpan } from './telemetry/spans.ts';

/*
 * The ports as the use cases get them, each with its span, its share of the request's time and its error counter. Kept in
 * one place so that use cases and adapters speak of their own matter only.
 */

type Attributes = Readonly<Record<string, string | number>>;

/**
 * Runs one step: its span, its leg's time since `start` (none without a leg), and its error counted. One function, since it
 * runs several times a request.
 */
const step = async <T>(
  leg: Leg | undefined,
  span: string,
  attributes: Attributes,
  operation: () => Promise<T>,
  count: (reason: string) => void,
  start = performance.now(),
): Promise<T> => {
  try {
    return await (tracingEnabled() ? withClientSpan(span, attributes, operation) : operation());
  } catch (error) {
    count(toCountersignError(error).reason);
    throw error;
  } finally {
    if (leg !== undefined) recordSince(leg, start);
  }
};

const recordSince = (leg: Leg, start: number): void => recordLeg(leg, (performance.now() - start) / 1000);

/**
 * Spans `key.open` and `key.sign` with the backend's kind, leg `key`, errors by key. An open key is had at once, so what was
 * waited for one counts with its first signature. `configured`: the keys of the configuration, so that labels stay bounded.
 */
export const observeKeys = (
  keys: KeysByName,
  configured: readonly { readonly name: string; readonly kind: string }[],
): KeysByName => {
  const known = new Map<string, Attributes>(
    configured.map(({ name, kind }) => [name, { 'countersign.key': name, 'countersign.key.backend': kind }]),
  );
  const unknown: Attributes = { 'countersign.key': '' };
  const observe = <T>(
    leg: Leg | undefined,
    span: string,
    name: string,
    operation: () => Promise<T>,
    start?: number,
  ): Promise<T> =>
    step(
      leg,
      span,
      known.get(name) ?? unknown,
      operation,
      (reason) => {
        if (known.has(name)) recordKeyError(name, reason);
      },
      start,
    );
  const observed = (held: HeldKey, name: string, waitedMs: number): HeldKey => {
    let before = waitedMs;
    const observeSigning = <T>(operation: () => Promise<T>): Promise<T> => {
      const start = performance.now() - before;
      before = 0;
      return observe('key', 'key.sign', name, operation, start);
    };
    return {
      ...held,
      sign: (toSign, context, haste) => observeSigning(() => held.sign(toSign, context, haste)),
      signMany: (toSigns, context, haste) => observeSigning(() => held.signMany(toSigns, context, haste)),
    };
  };
  return {
    describe: (name, context) => observe('key', 'key.open', name, () => keys.describe(name, context)),
    hold: (name, context, failed) => {
      const asked = performance.now();
      return observe(undefined, 'key.open', name, () => keys.hold(name, context, failed)).then(
        (held) => observed(held, name, performance.now() - asked),
        (error) => {
          recordSince('key', asked);
          throw error;
        },
      );
    },
  };
};

const none: Attributes = {};

/** OpenTelemetry's names for the peer of a CLIENT span, of `host[:port]/path`; nothing is made up for the port. */
const serverAttributes = (repository: string): Attributes => {
  const [, address, port] = /^(\[[^\]]*\]|[^:/]*)(?::(\d{1,5}))?(?:\/|$)/.exec(repository) ?? [];
  if (address === undefined) return none;
  const bare = address.replace(/^\[|\]$/g, '');
  return { 'server.address': bare, ...(port !== undefined && { 'server.port': Number(port) }) };
};

/** Spans `registry.resolve`, `.attach`, `.read`, `.look`, `.nested` with the registry's host, leg `registry`, errors by reason. */
export const observeRegistry = (registry: Registry): Registry => {
  const observe = <T>(
    span: string,
    image: Pick<ResolvedImage, 'registry' | 'repository'>,
    repository: string | undefined,
    operation: () => Promise<T>,
  ): Promise<T> => {
    const attributes = tracingEnabled() ? serverAttributes(repository ?? repositoryName(image)) : none;
    return step('registry', span, attributes, operation, recordRegistryError);
  };
  return {
    resolve: (reference, context) =>
      observe('registry.resolve', reference, undefined, () => registry.resolve(reference, context)),
    attach: (image, sealed, repository, context) =>
      observe('registry.attach', image, repository, () => registry.attach(image, sealed, repository, context)),
    attachments: (image, repository, context) =>
      observe('registry.read', image, repository, () => registry.attachments(image, repository, context)),
    present: (image, sought, repository, context) =>
      observe('registry.look', image, repository, () => registry.present(image, sought, repository, context)),
    nested: (image, context) => observe('registry.nested', image, undefined, () => registry.nested(image, context)),
    layouts: (image, repository) => registry.layouts(image, repository),
    close: () => registry.close(),
  };
};

/** Span `registry.lease`, from asking for a lease to its end, and the time until it was had, by outcome. */
export const observeLease = (lease: Lease): Lease => ({
  hold: (name, context, work) =>
    withClientSpan('registry.lease', none, async () => {
      const start = performance.now();
      const record = (outcome: string): void => recordLeaseWait((performance.now() - start) / 1000, outcome);
      let held = false;
      try {
        return await lease.hold(name, context, (mine) => {
          held = true;
          record('held');
          return work(mine);
        });
      } catch (error) {
        if (!held) record(toCountersignError(error).reason);
        throw error;
      }
    }),
  close: () => lease.close(),
});

/** Span `policy.decide`, leg `policy`, decisions by rule. */
export const observeDecide =
  (decide: (question: Question) => Decision): ((question: Question) => Decision) =>
  (question) =>
    withSyncSpan('policy.decide', { 'countersign.verb': question.verb }, (span) => {
      const start = performance.now();
      const decision = decide(question);
      recordLeg('policy', (performance.now() - start) / 1000);
      recordDecision(decision.rule, decision.allowed);
      span.setAttribute('countersign.rule', decision.rule ?? '');
      span.setAttribute('countersign.allowed', decision.allowed);
      return decision;
    });

/** Span `audit.write`. */
export const observeAudit = (audit: AuditSink): AuditSink => ({
  write: (record, until) =>
    withSpan('audit.write', { 'countersign.audit.event': record.event }, () => audit.write(record, until)),
  healthy: () => audit.healthy(),
  close: () => audit.close(),
});
