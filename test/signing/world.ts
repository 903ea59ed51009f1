// The use cases with a real key, a real registry client and an audit log that can be read.
import type { TestContext } from 'node:test';
import type { AuditRecord } from '../../src/audit/port.ts';
import { type DevRegistry, startRegistry, type DevRegistryOptions } from '../../src/dev/registry.ts';
import { formats } from '../../src/formats/formats.ts';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keysSettings } from '../../src/keys/configured.ts';
import type { Caller } from '../../src/model/caller.ts';
import type { AttestCommand, SignCommand } from '../../src/model/command.ts';
import { type Context, openContext } from '../../src/model/context.ts';
import type { Decision, Question } from '../../src/model/decision.ts';
import type { SignResult } from '../../src/model/result.ts';
import { createRepeats } from '../../src/signing/repeats.ts';
import type { DestinationSettings } from '../../src/registry/settings.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { attest } from '../../src/signing/attest.ts';
import type { SigningPorts } from '../../src/signing/ports.ts';
import { sign } from '../../src/signing/sign.ts';
import type { Verdict } from '../../src/model/verdict.ts';
import { verify } from '../../src/verification/verify-command.ts';
import { clientFor } from '../registry/world.ts';

export const caller: Caller = {
  kind: 'oidc',
  issuer: 'https://issuer.example',
  subject: 'me',
  claims: { sub: 'me' },
  expiresAt: 2e9,
};

export type SigningWorld = {
  readonly registry: DevRegistry;
  readonly records: readonly AuditRecord[];
  /** How often a key signed, in messages. */
  readonly keyUses: () => number;
  sign(command: Partial<SignCommand>, context?: Partial<Context>): Promise<SignResult>;
  attest(command: Partial<AttestCommand>, context?: Partial<Context>): Promise<SignResult>;
  verify(reference: string, attestation?: string): Promise<Verdict>;
  /** The same service after a restart: nothing is remembered. */
  restart(): void;
};

export type SigningWorldOptions = {
  readonly registry?: DevRegistryOptions;
  readonly destinations?: readonly object[];
  readonly record?: SigningPorts['record'];
  readonly allows?: (question: Question) => boolean;
  /** An equal configuration elsewhere: the registry of another world. */
  readonly at?: DevRegistry;
};

/** Keys `release` and `other`, both P-256; `image` of a command is relative to the registry. */
export const startSigningWorld = async (t: TestContext, options: SigningWorldOptions = {}): Promise<SigningWorld> => {
  const settings = ['release', 'other'].map((name) => ({ name, kind: 'local', generate: 'ecdsa-p256-sha256' }));
  const keyring = openKeyring(keysSettings.parse(settings));
  const destinations: readonly DestinationSettings[] = registrySettings.parse({
    destinations: options.destinations ?? [],
  }).destinations;
  const dev = options.at ?? (await startRegistry(options.registry));
  const records: AuditRecord[] = [];
  let keyUses = 0;
  const decide = (question: Question): Decision => {
    const allowed = options.allows?.(question) ?? true;
    const about = { policyHash: 'sha256:00', claims: {}, nearest: undefined, reasons: [] };
    return { allowed, rule: allowed ? 'everything' : undefined, ...about };
  };
  const open = (): SigningPorts => ({
    decide,
    keys: {
      describe: keyring.describe,
      hold: async (...asked) => {
        const held = await keyring.hold(...asked);
        return {
          ...held,
          sign: (...signing) => {
            keyUses++;
            return held.sign(...signing);
          },
          signMany: (toSigns, ...signing) => {
            keyUses += toSigns.length;
            return held.signMany(toSigns, ...signing);
          },
        };
      },
    },
    formats,
    registry: clientFor(dev.host, undefined, 3, { destinations }),
    audit: { write: async (record) => void records.push(record), healthy: () => true, close: async () => undefined },
    now: () => new Date(),
    repeats: createRepeats(),
    record: options.record ?? 'full',
  });
  let ports = open();
  t.after(async () => {
    await ports.registry.close();
    await keyring.close();
    if (options.at === undefined) await dev.close();
  });
  const contextOf = (more: Partial<Context>): Context => ({
    ...openContext(more.requestId ?? `request-${records.length}`, 20_000).context,
    ...more,
  });
  const base = {
    subject: { kind: 'image', reference: `${dev.host}/acme/app:v1` },
    key: 'release',
    formats: [],
    annotations: {},
    storage: { kind: 'attach', repository: undefined },
  } as const;
  return {
    registry: dev,
    records,
    keyUses: () => keyUses,
    sign: (command, context = {}) =>
      sign({ ...base, ifAbsent: true, recursive: undefined, ...command }, caller, contextOf(context), ports),
    attest: (command, context = {}) =>
      attest(
        {
          ...base,
          ifAbsent: false,
          recursive: undefined,
          predicateType: 'custom',
          predicate: Buffer.from('{"a":1}'),
          ...command,
        },
        caller,
        contextOf(context),
        ports,
      ),
    verify: (reference, attestation) =>
      verify(
        {
          subject: { kind: 'image', reference: `${dev.host}/${reference}` },
          keys: [{ kind: 'configured', name: 'release' }],
          expect:
            attestation === undefined ? { kind: 'signature' } : { kind: 'attestation', predicateType: attestation },
          annotations: {},
          provided: [],
          repository: undefined,
        },
        {
          registry: ports.registry,
          keyVersions: async (name, context) => (await keyring.describe(name, context)).versions,
          parsePublicKey: () => {
            throw new Error('no PEM here');
          },
        },
        contextOf({}),
      ),
    restart: () => {
      void ports.registry.close();
      ports = open();
    },
  };
};
