import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Output } from '../service-world.ts';
import { type Finished, run, temporaryFolder } from './peer.ts';

export const text = (output: Output): string => Buffer.from(output.content, 'base64').toString('utf8');

export const accepted = (finished: Finished, what: string): void =>
  assert.equal(finished.code, 0, `${what} was refused: ${finished.stderr}`);

export const refused = (finished: Finished, what: string): void =>
  assert.notEqual(finished.code, 0, `${what} was accepted: ${finished.stdout}`);

export const signatureIn = (envelope: Buffer): string =>
  (JSON.parse(envelope.toString()) as { signatures: [{ sig: string }] }).signatures[0].sig;

/** Is the signature of a DSSE envelope one over its pre-authentication encoding? By openssl, with the PAE written by hand. */
export const byOpenssl = async (
  publicKey: string,
  hash: string,
  envelope: string,
  signature: string,
): Promise<Finished> => {
  const { payload, payloadType } = JSON.parse(envelope) as { payload: string; payloadType: string };
  const body = Buffer.from(payload, 'base64');
  const folder = temporaryFolder('openssl');
  writeFileSync(join(folder, 'sig'), Buffer.from(signature, 'base64'));
  writeFileSync(
    join(folder, 'pae'),
    Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${body.length} `), body]),
  );
  return run('openssl', ['dgst', `-${hash}`, '-verify', publicKey, '-signature', 'sig', 'pae'], { cwd: folder });
};
