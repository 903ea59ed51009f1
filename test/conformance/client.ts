// The client protocol of sigstore-conformance, spoken to a running service over REST:
//   verify-bundle [--staging] --bundle FILE --key FILE [--trusted-root FILE] FILE_OR_DIGEST
//   verify-bundle [--staging] --bundle FILE --certificate-identity ID --certificate-oidc-issuer URL [--trusted-root FILE] FILE_OR_DIGEST
//   sign-bundle ...
// Environment: COUNTERSIGN_URL (http://host:port) and COUNTERSIGN_TOKEN. Exit status: 0 accepted, 1 refused, 2 not supported or
// not called as above. The service verifies by public key: it does not look at trusted roots, and knows no identities yet.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const quit = (status: 0 | 1 | 2, message: string): never => {
  process.stderr.write(`${message}\n`);
  process.exit(status);
};

const required = (value: string | undefined, what: string): string => value || quit(2, `${what} is missing`);

const digestForm = /^sha256:[0-9a-f]{64}$/;

/** The predicate type of a bundle around a statement; undefined for one over a blob, or for what cannot be read. */
const predicateTypeOf = (bundle: Buffer): string | undefined => {
  try {
    const { dsseEnvelope } = JSON.parse(bundle.toString('utf8'));
    return JSON.parse(Buffer.from(dsseEnvelope.payload, 'base64').toString('utf8')).predicateType;
  } catch {
    return undefined;
  }
};

const verifyBundle = async (argv: readonly string[]): Promise<never> => {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      staging: { type: 'boolean' },
      bundle: { type: 'string' },
      key: { type: 'string' },
      'certificate-identity': { type: 'string' },
      'certificate-oidc-issuer': { type: 'string' },
      'trusted-root': { type: 'string' },
    },
  });
  const [artifact, ...more] = positionals;
  if (artifact === undefined || more.length > 0) return quit(2, 'give one file or one digest');
  if (values.key === undefined) return quit(2, 'verification by certificate is not supported yet: give --key');
  const bundle = readFileSync(required(values.bundle, '--bundle'));
  const predicateType = predicateTypeOf(bundle);
  const url = required(process.env['COUNTERSIGN_URL'], 'COUNTERSIGN_URL');

  const response = await fetch(new URL('/v1/verify', url), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${required(process.env['COUNTERSIGN_TOKEN'], 'COUNTERSIGN_TOKEN')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      subject: digestForm.test(artifact)
        ? { blobDigest: { name: 'artifact', digest: artifact } }
        : { blob: { name: 'artifact', content: readFileSync(artifact).toString('base64') } },
      keys: [{ pem: readFileSync(values.key, 'utf8') }],
      signatures: [bundle.toString('base64')],
      ...(predicateType === undefined ? {} : { predicateType }),
    }),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  if (response.status === 400) return quit(1, text);
  if (response.status !== 200) return quit(2, `the service answered ${response.status}: ${text}`);
  const verdict = JSON.parse(text);
  return quit(verdict.verified === true ? 0 : 1, verdict.summary);
};

const [command = '', ...argv] = process.argv.slice(2);
try {
  if (command === 'verify-bundle') await verifyBundle(argv);
  quit(2, `${command || 'no command'}: only verify-bundle is supported`);
} catch (error) {
  quit(2, error instanceof Error ? error.message : String(error));
}
