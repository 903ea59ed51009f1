// cosign as its users call it with a key: no transparency log, no timestamps, no network but loopback.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, succeeded, type Finished } from './peer.ts';

export type CosignVersion = '3.1.1' | '2.5.0' | '3.1.3';

export interface KeyPair {
  /** Path of cosign's encrypted private key. */
  readonly privateKey: string;
  /** Path of the PEM public key. */
  readonly publicKey: string;
  readonly password: string;
}

interface Call {
  /** 3.1.1 unless told; a hashivault:// key needs 3.1.3. */
  readonly version?: CosignVersion | undefined;
  /** Path of a key file (the public one to verify, the private one to sign), or a KMS address. */
  readonly key: string;
  /** The layout before bundles: .sig and .att tags, bare signatures. cosign 2.5.0 makes this by default. */
  readonly legacy?: boolean | undefined;
  readonly password?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** More flags, as they are. */
  readonly flags?: readonly string[] | undefined;
}

export const keyPassword = 'correct-horse-battery';

/** Makes `cosign.key` and `cosign.pub` (ECDSA P-256) in a folder. */
export async function generateKeyPair(folder: string, password: string = keyPassword): Promise<KeyPair> {
  mkdirSync(folder, { recursive: true });
  succeeded(await run('cosign-3.1.1', ['generate-key-pair'], { cwd: folder, env: { COSIGN_PASSWORD: password } }));
  return { privateKey: join(folder, 'cosign.key'), publicKey: join(folder, 'cosign.pub'), password };
}

/** The same files from a private key of any kind that cosign imports (PEM: PKCS#8, SEC1, PKCS#1). */
export async function importKeyPair(folder: string, pem: string, password: string = keyPassword): Promise<KeyPair> {
  mkdirSync(folder, { recursive: true });
  const source = join(folder, 'import.pem');
  writeFileSync(source, pem);
  const args = ['import-key-pair', '--key', source, '--output-key-prefix', 'cosign'];
  succeeded(await run('cosign-3.1.1', args, { cwd: folder, env: { COSIGN_PASSWORD: password } }));
  return { privateKey: join(folder, 'cosign.key'), publicKey: join(folder, 'cosign.pub'), password };
}

export interface SignCall extends Call {
  readonly ref: string;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

export function cosignSign(call: SignCall): Promise<Finished> {
  return cosign(call, ['sign', ...signing(call), ...annotations(call.annotations), call.ref]);
}

export interface AttestCall extends Call {
  readonly ref: string;
  /** A short name of cosign's (`slsaprovenance1`, `spdxjson`) or a URI. */
  readonly type: string;
  /** Path of the predicate. */
  readonly predicate: string;
}

export function cosignAttest(call: AttestCall): Promise<Finished> {
  return cosign(call, ['attest', ...signing(call), '--type', call.type, '--predicate', call.predicate, call.ref]);
}

interface Check extends Call {
  /**
   * cosign signs with the hash that fits a curve (P-384: SHA-384) but verifies with SHA-256 unless this names another.
   * 2.5.0 knows it for `verify` and blobs only, not for attestations.
   */
  readonly hash?: 'sha256' | 'sha384' | 'sha512' | undefined;
}

export interface VerifyCall extends Check {
  readonly ref: string;
  /** Verify an attestation of this type instead of a signature. */
  readonly attestationType?: string | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

export function cosignVerify(call: VerifyCall): Promise<Finished> {
  const verb = call.attestationType === undefined ? ['verify'] : ['verify-attestation', '--type', call.attestationType];
  return cosign(call, [...verb, ...verifying(call), ...annotations(call.annotations), call.ref]);
}

export interface SignBlobCall extends Call {
  /** Path of the blob. */
  readonly blob: string;
  /** Where the bundle is written; with `legacy`, where the base64 signature is. */
  readonly output: string;
}

export function cosignSignBlob(call: SignBlobCall): Promise<Finished> {
  const output = call.legacy === true ? '--output-signature' : '--bundle';
  return cosign(call, ['sign-blob', ...signing(call), output, call.output, call.blob]);
}

export interface AttestBlobCall extends SignBlobCall {
  /** A short name of cosign's or a URI. */
  readonly type: string;
  /** Path of the predicate. */
  readonly predicate: string;
}

/** `output` gets the bundle; with `legacy` the DSSE envelope, which cosign calls the signature. */
export function cosignAttestBlob(call: AttestBlobCall): Promise<Finished> {
  const output = call.legacy === true ? '--output-signature' : '--bundle';
  const about = ['--type', call.type, '--predicate', call.predicate];
  return cosign(call, ['attest-blob', ...signing(call), ...about, output, call.output, call.blob]);
}

export interface VerifyBlobCall extends Check {
  readonly blob: string;
  /** Path of the bundle; with `legacy`, of the base64 signature. */
  readonly signature: string;
  /** Verify an attestation of this type about the blob instead of a signature over it. */
  readonly attestationType?: string | undefined;
}

export function cosignVerifyBlob(call: VerifyBlobCall): Promise<Finished> {
  const verb =
    call.attestationType === undefined ? ['verify-blob'] : ['verify-blob-attestation', '--type', call.attestationType];
  const input = call.legacy === true ? '--signature' : '--bundle';
  return cosign(call, [...verb, ...verifying(call), input, call.signature, call.blob]);
}

function cosign(call: Call, args: readonly string[]): Promise<Finished> {
  const env = { COSIGN_PASSWORD: call.password ?? keyPassword, ...call.env };
  return run(`cosign-${call.version ?? '3.1.1'}`, args, { env });
}

/** A signing configuration (of cosign 3) would bring the public log in; bundles are cosign 3's default and 2.5.0's option. */
function signing(call: Call): string[] {
  const three = call.version !== '2.5.0';
  return [
    '--key',
    call.key,
    '--tlog-upload=false',
    ...(three ? ['--use-signing-config=false'] : []),
    '--yes',
    ...format(call),
  ];
}

function verifying(call: Check): string[] {
  const hash = call.hash === undefined ? [] : [`--signature-digest-algorithm=${call.hash}`];
  return ['--key', call.key, '--insecure-ignore-tlog=true', ...hash, ...format(call)];
}

function format(call: Call): string[] {
  const byDefault = call.version !== '2.5.0';
  const wanted = call.legacy !== true;
  return [...(wanted === byDefault ? [] : [`--new-bundle-format=${wanted}`]), ...(call.flags ?? [])];
}

function annotations(values: Readonly<Record<string, string>> = {}): string[] {
  return Object.entries(values).flatMap(([name, value]) => ['-a', `${name}=${value}`]);
}
