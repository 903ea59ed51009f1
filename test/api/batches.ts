import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { fromJson, type MessageInitShape } from '@bufbuild/protobuf';
import type { JsonValue } from '../../src/codec/strict-json.ts';
import {
  type BatchItemSchema,
  type SignBatchResponse,
  SignBatchResponseSchema,
  SigningService,
} from '../../src/gen/countersign/v1/signing_pb.ts';
import type { Limits } from '../../src/api/limits.ts';
import type { Service } from '../../src/api/service.ts';
import { detailTypes } from '../../src/api/status.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { start } from './calls.ts';
import { openStream, restLines, statusDetails } from './clients.ts';
import { signResult } from './world.ts';

export type Item = MessageInitShape<typeof BatchItemSchema>;

export const signItem = (reference: string, more: object = {}): Item => ({
  reference,
  request: {
    case: 'sign',
    value: { subject: { kind: { case: 'image', value: `registry.example/${reference}:v1` } }, key: 'release', ...more },
  },
});
export const attestItem = (reference: string): Item => ({
  reference,
  request: {
    case: 'attest',
    value: {
      subject: { kind: { case: 'image', value: `registry.example/${reference}:v1` } },
      key: 'release',
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: Buffer.from('{"a":1}'),
    },
  },
});
export const many = (count: number): Item[] => Array.from({ length: count }, (_, at) => signItem(`app${at}`));

/** The same in JSON; here it only has to be short. */
export const signJson = (reference: string, more: object = {}) => ({
  reference,
  sign: { subject: { image: `registry.example/${reference}:v1` }, key: 'release', ...more },
});
export const manyJson = (count: number) => Array.from({ length: count }, (_, at) => signJson(`app${at}`));

export const read = (line: JsonValue): SignBatchResponse =>
  fromJson(SignBatchResponseSchema, line, { registry: detailTypes });

/** Opens a batch on one edge, given in both forms; answers its messages, and how to leave. */
type Open = (
  setup: Awaited<ReturnType<typeof start>>,
  count: number,
) => { readonly messages: AsyncIterable<SignBatchResponse>; leave(): void };

export const edges: readonly { readonly name: string; readonly open: Open }[] = [
  {
    name: 'gRPC',
    open: ({ client }, count) => {
      const stream = openStream(client, SigningService.method.signBatch, { items: many(count) });
      return { messages: stream, leave: () => stream.cancel() };
    },
  },
  {
    name: 'REST',
    open: ({ world }, count) => {
      const controller = new AbortController();
      const lines = restLines(world.rest.port, '/v1/sign:batch', { items: manyJson(count) }, controller);
      // Sent now, not when the first line is asked for.
      const first = lines.next();
      first.catch(() => undefined);
      const messages = (async function* () {
        for (let next = await first; !next.done; next = await lines.next()) yield read(next.value as JsonValue);
      })();
      return { messages, leave: () => controller.abort() };
    },
  },
];

export const all = async (messages: AsyncIterable<SignBatchResponse>): Promise<SignBatchResponse[]> => {
  const found: SignBatchResponse[] = [];
  for await (const message of messages) found.push(message);
  return found;
};

export const errorOf = ({ outcome }: SignBatchResponse) => {
  assert.equal(outcome.case, 'error');
  return { code: outcome.value.code, ...statusDetails(outcome.value) };
};

/** A sign whose calls end one by one, when the test says so. */
export const gated = () => {
  const begun: string[] = [];
  const gates: { readonly name: string; readonly open: (error: CountersignError | undefined) => void }[] = [];
  let wake = (): void => undefined;
  const sign: Service['sign'] = (command, _caller, context) => {
    const name = command.subject.kind === 'image' ? command.subject.reference : '';
    begun.push(name);
    wake();
    return new Promise((resolve, reject) => {
      gates.push({ name, open: (error) => (error === undefined ? resolve(signResult()) : reject(error)) });
      context.signal.addEventListener('abort', () => reject(context.signal.reason), { once: true });
    });
  };
  return {
    begun,
    sign,
    reached: async (count: number): Promise<void> => {
      while (begun.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    end: (reference: string, error?: CountersignError): void => {
      for (const gate of gates) if (gate.name === `registry.example/${reference}:v1`) gate.open(error);
    },
  };
};

export const idle = async (setup: Awaited<ReturnType<typeof start>>): Promise<void> => {
  const { limiter, batchLimiter } = setup.world.edge;
  while (limiter.inFlight + batchLimiter.inFlight + batchLimiter.queued > 0) await new Promise(setImmediate);
};

export const startGated = async (t: TestContext, limits: Partial<Limits> = {}) => {
  const gate = gated();
  return { gate, setup: await start(t, { sign: gate.sign }, limits) };
};
