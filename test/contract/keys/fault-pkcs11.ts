// A PKCS#11 token behind the scripted proxy, and the table of what it says when it refuses.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { type Keyring, openKeyring } from '../../../src/keys/keyring.ts';
import { ckr } from '../../../src/keys/pkcs11/constants.ts';
import type { Problem } from '../../../src/keys/pkcs11/protocol.ts';
import { keySettings } from '../../../src/keys/settings.ts';
import { openContext } from '../../../src/model/context.ts';
import { type Both, type Expected, type FaultWorld, mayPass, refusedFor, type Row, unusable } from './fault-ask.ts';
import { type FaultSubject, faultContract } from './fault-contract.ts';
import { type Pkcs11FaultProxy, startPkcs11Proxy } from './fault-pkcs11-proxy.ts';
import { changed, type Json } from './fault-script.ts';

export type Pkcs11Backend = {
  readonly module: string;
  readonly token: string;
  readonly pin: string;
  /** Of a P-256 key. */
  readonly label: string;
  /** For programs that tests start. */
  readonly folder: string;
  /** What the module needs of the environment. */
  readonly env: Readonly<Record<string, string>>;
};

/** A code says the same of a signature and of the reading of a key, which is not tried again by itself. */
const said = (name: keyof typeof ckr, expected: Expected, openings = 1): Row<Problem> => ({
  name: `CKR ${name}`,
  refusal: { kind: 'pkcs11', method: 'C_Sign', code: ckr[name], name: `CKR of ${name}` },
  expected,
  opening: { ...expected, attempts: openings },
});
const throttled = { code: 'resource_exhausted', reason: 'KEY_THROTTLED', attempts: 3 } as const;
/** A new process and a login come first, and then the pauses between starts have a part in it. */
const lost = { ...mayPass, attempts: undefined };
const unsupported = refusedFor('KEY_UNSUPPORTED');
const denied = refusedFor('KEY_ACCESS_DENIED');

/** Codes: PKCS#11 base specification 2.40 (OASIS), sections 5.1.1 to 5.1.6, which say what each means for token and session. */
const table: readonly Row<Problem>[] = [
  said('generalError', mayPass),
  said('functionFailed', mayPass),
  said('deviceError', mayPass),
  said('hostMemory', throttled),
  said('deviceMemory', throttled),
  said('sessionCount', throttled),
  said('sessionHandleInvalid', lost, 2),
  said('sessionClosed', lost, 2),
  said('deviceRemoved', lost, 2),
  said('tokenNotPresent', lost, 2),
  said('userNotLoggedIn', lost, 2),
  said('keyHandleInvalid', lost, 2),
  said('keyFunctionNotPermitted', unsupported),
  said('keyTypeInconsistent', unsupported),
  said('mechanismInvalid', unsupported),
  said('dataLenRange', unsupported),
  said('pinIncorrect', denied),
  said('pinExpired', denied),
  said('pinLocked', denied),
  said('attributeSensitive', refusedFor('KEY_REQUEST_REFUSED')),
  {
    name: 'no such key',
    refusal: { kind: 'key', matches: 0, seen: [] },
    expected: refusedFor('KEY_NOT_FOUND'),
  },
  { name: 'a fault of the process', refusal: { kind: 'bug', message: 'x is not a function' }, expected: unusable() },
];

/** The process is gone. */
const ended: Both = { sign: lost, open: { ...mayPass, attempts: 1 } };

const withPublic = (answer: Json, change: (ecPoint: string) => string): Json =>
  changed(answer, 'ok', (found) =>
    changed(found, 'public', (own) => ({ ...own, ecPoint: change(String(own['ecPoint'])) })),
  );
/** In its OCTET STRING, hex. */
const pointOf = (key: KeyObject, bytes: number): string => {
  const point = key.export({ type: 'spki', format: 'der' }).subarray(-bytes);
  return Buffer.concat([Buffer.of(4, bytes), point]).toString('hex');
};

export const pkcs11Ring = ({ module, token, pin, label }: Pkcs11Backend, proxy: Pkcs11FaultProxy): Keyring => {
  const settings = keySettings.parse({ name: 'subject', kind: 'pkcs11', module, token, pin, label });
  return openKeyring([settings], { pkcs11Process: { entry: proxy.entry } });
};

/** Up to six processes are started, each with a login. */
const patientMs = 25_000;

const publicKeyOf = async (backend: Pkcs11Backend, proxy: Pkcs11FaultProxy): Promise<KeyObject> => {
  const ring = pkcs11Ring(backend, proxy);
  const { signing } = await ring.describe('subject', openContext('key', 20_000).context);
  await ring.close();
  return createPublicKey({ key: Buffer.from(signing.spki), format: 'der', type: 'spki' });
};

/** `makeBackend` makes a token for each test, where no other test sees it: a process may read what another one half wrote. */
export const pkcs11Faults = (
  label: string,
  makeBackend: () => Promise<Pkcs11Backend>,
  skip: string | false = false,
): void => {
  const start: FaultSubject<Problem>['start'] = async (t): Promise<FaultWorld<Problem>> => {
    const backend = await makeBackend();
    const proxy = await startPkcs11Proxy(backend.folder, backend.env);
    t.after(proxy.close);
    const publicKey = await publicKeyOf(backend, proxy);
    return { proxy, openRing: () => pkcs11Ring(backend, proxy), publicKey, secrets: [backend.pin], patientMs };
  };
  faultContract<Problem>({
    label,
    skip,
    start,
    encoding: 'raw',
    withSignature: (answer, change) => ({ ok: change(Buffer.from(String(answer['ok']), 'base64')).toString('base64') }),
    lies: {
      'no base64': { change: () => ({ ok: '%%%' }), expected: unusable() },
      'no text': { change: () => ({ ok: 7 }), expected: unusable() },
      nothing: { change: () => ({ ok: null }), expected: unusable() },
    },
    wrongKeys: {
      truncated: { change: (answer) => withPublic(answer, (point) => point.slice(0, -20)), expected: unusable() },
      'of another curve': {
        change: (answer, other) => withPublic(answer, () => pointOf(other, 97)),
        expected: unusable(),
      },
      'of another key': {
        change: (answer, other) => withPublic(answer, () => pointOf(other, 65)),
        expected: unusable('BAD_SIGNATURE'),
      },
    },
    garbage: { bytes: ['', '<html>', '{}', 'null', '7', '[7]', '[{}]', '[{"id":"1"}]'], ...ended },
    flood: ended,
    breaks: ended,
    garbledRounds: 16,
    table,
  });
};
