import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { writeDer, writeUnsigned } from '../../src/codec/der.ts';
import { writePem } from '../../src/codec/pem.ts';

const oid = (hex: string): Buffer => writeDer(0x06, Buffer.from(hex, 'hex'));
const time = (at: Date): Buffer => writeDer(0x18, Buffer.from(`${at.toISOString().replace(/[-:T]|\..*/g, '')}Z`));

/** A certificate for 127.0.0.1 that signs itself, valid for an hour, with its key: PEM (RFC 5280 section 4.1). */
export const selfSigned = (): { readonly cert: string; readonly key: string } => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaSha256 = writeDer(0x30, oid('2a8648ce3d040302'));
  const name = writeDer(0x30, writeDer(0x31, writeDer(0x30, oid('550403'), writeDer(0x0c, Buffer.from('fake vault')))));
  const now = Date.now();
  const address = writeDer(0x30, writeDer(0x87, Uint8Array.of(127, 0, 0, 1)));
  const subjectAltName = writeDer(0x30, oid('551d11'), writeDer(0x04, address));
  const toBeSigned = writeDer(
    0x30,
    writeDer(0xa0, writeUnsigned(Uint8Array.of(2))),
    writeUnsigned(randomBytes(8)),
    ecdsaSha256,
    name,
    writeDer(0x30, time(new Date(now - 3_600_000)), time(new Date(now + 3_600_000))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    writeDer(0xa3, writeDer(0x30, subjectAltName)),
  );
  const signature = writeDer(0x03, Uint8Array.of(0), sign('sha256', toBeSigned, privateKey));
  return {
    cert: writePem('CERTIFICATE', writeDer(0x30, toBeSigned, ecdsaSha256, signature)),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
};
