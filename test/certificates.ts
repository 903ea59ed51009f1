// X.509 certificates for TLS tests, made with node:crypto alone, so that no openssl need be there (RFC 5280 section 4.1).
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { writeDer, writeUnsigned } from '../src/codec/der.ts';
import { writePem } from '../src/codec/pem.ts';

/** A certificate and its private key, PEM. */
export type Pair = { readonly cert: string; readonly key: string };

export type Certificates = {
  readonly ca: string;
  readonly server: Pair;
  readonly client: Pair;
  readonly stranger: Pair;
};

const oid = (hex: string): Buffer => writeDer(0x06, Buffer.from(hex, 'hex'));
const sequence = (...parts: readonly Uint8Array[]): Buffer => writeDer(0x30, ...parts);
const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), writeDer(0x04, value));
const time = (at: number): Buffer =>
  writeDer(0x18, Buffer.from(`${new Date(at).toISOString().replace(/[-:T]|\..*/g, '')}Z`));
const nameOf = (commonName: string): Buffer =>
  sequence(writeDer(0x31, sequence(oid('550403'), writeDer(0x0c, Buffer.from(commonName)))));

const isCa = extension('551d13', sequence(writeDer(0x01, Uint8Array.of(0xff))));
const forLoopback = extension(
  '551d11',
  sequence(writeDer(0x87, Uint8Array.of(127, 0, 0, 1)), writeDer(0x82, Buffer.from('localhost'))),
);
const forClients = extension('551d25', sequence(oid('2b06010505070302')));

type Issuer = { readonly name: string; readonly privateKey: KeyObject };
type Made = Issuer & { readonly pair: Pair };

/** A P-256 certificate that was valid an hour ago and is for a day; without `issuer` it signs itself. */
const make = (name: string, extensions: readonly Buffer[], issuer?: Issuer): Made => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const by = issuer ?? { name, privateKey };
  const ecdsaSha256 = sequence(oid('2a8648ce3d040302'));
  const hour = 3_600_000;
  const toBeSigned = sequence(
    writeDer(0xa0, writeUnsigned(Uint8Array.of(2))),
    writeUnsigned(randomBytes(8)),
    ecdsaSha256,
    nameOf(by.name),
    sequence(time(Date.now() - hour), time(Date.now() + 24 * hour)),
    nameOf(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    ...(extensions.length === 0 ? [] : [writeDer(0xa3, sequence(...extensions))]),
  );
  const signature = writeDer(0x03, Uint8Array.of(0), sign('sha256', toBeSigned, by.privateKey));
  const cert = writePem('CERTIFICATE', sequence(toBeSigned, ecdsaSha256, signature));
  return { name, privateKey, pair: { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() } };
};

/** A certificate for 127.0.0.1 and localhost that signs itself, and its key. */
export const selfSigned = (): Pair => make('countersign test', [forLoopback, isCa]).pair;

/** A CA, a server for 127.0.0.1 and localhost, a client of the CA, and a client of nobody; made anew. */
export const makeCertificates = (): Certificates => {
  const ca = make('ca', [isCa]);
  return {
    ca: ca.pair.cert,
    server: make('server', [forLoopback], ca).pair,
    client: make('client', [forClients], ca).pair,
    stranger: make('stranger', [isCa]).pair,
  };
};
