import { createHash, randomBytes } from 'node:crypto';
import { Client } from 'undici';
import { SignRequestSchema } from '../../src/gen/countersign/v1/signing_pb.ts';
import type { Vault } from '../peers/vault.ts';
import { inMs, messageBytes, peersMissing, signMethod, withPeerBench } from './peer-bench.ts';
import { atMost, type Row, unmeasured } from './row.ts';

const name = 'latency added to a call of Vault, p50';
const bar = '<= 1.5 ms';

/** What Sign adds to calling Vault's transit engine directly over a kept connection, one call at a time. */
export const vaultRows = async (seconds: number): Promise<readonly Row[]> => {
  const missing = peersMissing();
  if (missing !== undefined) return [unmeasured(name, bar, missing)];
  return withPeerBench(async ({ vault, load }) => {
    const request = messageBytes(SignRequestSchema, {
      subject: { kind: { case: 'blob', value: { name: 'bench', content: randomBytes(200) } } },
      key: 'vault',
    });
    // Before and after, so that a machine that slows down slows both.
    const before = await directly(vault, seconds / 2);
    const ours = await load(signMethod, request, 1, seconds);
    const after = await directly(vault, seconds / 2);
    const direct = (before + after) / 2;
    const added = ours.p50 - direct;
    return [
      {
        name,
        figure: inMs(added),
        baseline: `${inMs(direct)} directly, ${inMs(ours.p50)} through Sign`,
        ratio: added,
        bar,
        holds: atMost(added, 1.5),
        note: 'token, policy, two durable audit records, verification of the signature and the bundle',
      },
    ];
  });
};

/** p50 of signing directly, in milliseconds. */
const directly = async (vault: Vault, seconds: number): Promise<number> => {
  const client = new Client(vault.addr, { pipelining: 1 });
  const input = createHash('sha256').update(randomBytes(200)).digest('base64');
  const body = JSON.stringify({ input, prehashed: true, marshaling_algorithm: 'asn1', key_version: 1 });
  const latencies: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const start = performance.now();
    const response = await client.request({
      method: 'POST',
      path: '/v1/transit/sign/bench/sha2-256',
      headers: { 'x-vault-token': vault.token, 'content-type': 'application/json' },
      body,
    });
    if (response.statusCode !== 200) throw new Error(`Vault answered ${response.statusCode}`);
    await response.body.json();
    latencies.push(performance.now() - start);
  }
  await client.close();
  return latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length / 2)] ?? Number.NaN;
};
