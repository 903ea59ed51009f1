import { z } from 'zod';

/** Signature algorithms that a token may have (RFC 7518 section 3.1, RFC 8037); never `none`, never HMAC. */
const tokenAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;

const parsedUrl = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

const url = z
  .string()
  .max(2048)
  .refine(
    (text) => {
      const parsed = parsedUrl(text);
      return (
        (parsed?.protocol === 'https:' || parsed?.protocol === 'http:') && parsed.username === '' && parsed.hash === ''
      );
    },
    { message: 'must be an absolute https URL without user name or fragment' },
  );

const keySource = z.union(
  [z.literal('discovery'), z.strictObject({ file: z.string().min(1) }), z.strictObject({ url })],
  { message: 'must be "discovery", {file: <path of a JWKS file>} or {url: <address of a JWKS>}' },
);

/** One trusted OIDC issuer. */
const issuerSettings = z
  .strictObject({
    issuer: url.describe('The exact `iss` of its tokens: compared character by character, a trailing slash counts.'),
    audience: z
      .string()
      .min(1)
      .max(512)
      .describe('The one `aud` that tokens must carry; choose one that only this deployment uses.'),
    algorithms: z
      .array(z.enum(tokenAlgorithms))
      .min(1)
      .default(['RS256', 'ES256'])
      .describe('Signature algorithms that are accepted.'),
    jwks: keySource.default('discovery').describe('Where its public keys come from.'),
    requireJti: z
      .boolean()
      .default(true)
      .describe('Refuse tokens without a `jti`; false for issuers that set none (Buildkite, Google).'),
    maxLifetimeSeconds: z.int().min(1).max(86_400).default(3600).describe('The most seconds between `iat` and `exp`.'),
    maxAgeSeconds: z.int().min(1).max(86_400).default(600).describe('The most seconds since `iat`.'),
    clockToleranceSeconds: z.int().min(0).max(30).default(30).describe('How far the clocks may be apart.'),
    allowPlainText: z
      .boolean()
      .default(false)
      .describe('Fetch keys over plain http. For development: anyone on the path can forge callers.'),
    stableClaims: z
      .array(z.string().min(1))
      .optional()
      .describe('The claims of which each policy rule must bind one; default: the well-known ones.'),
  })
  .superRefine((settings, context) => {
    const addresses: [string, string][] = [['issuer', settings.issuer]];
    if (typeof settings.jwks === 'object' && 'url' in settings.jwks) addresses.push(['jwks', settings.jwks.url]);
    for (const [field, address] of addresses) {
      if (parsedUrl(address)?.protocol === 'http:' && !settings.allowPlainText) {
        context.addIssue({
          code: 'custom',
          path: [field],
          message: 'must be https; for development set allowPlainText: true',
        });
      }
    }
  });
export type IssuerSettings = z.output<typeof issuerSettings>;

/** Who may call: the `callers` part of the configuration. */
export const callerSettings = z.strictObject({
  oidc: z
    .array(issuerSettings)
    .max(100)
    .default([])
    .superRefine((issuers, context) => {
      const seen = new Set<string>();
      issuers.forEach(({ issuer }, index) => {
        if (seen.has(issuer))
          context.addIssue({ code: 'custom', path: [index, 'issuer'], message: 'this issuer is already listed' });
        seen.add(issuer);
      });
    }),
});
export type CallerSettings = z.output<typeof callerSettings>;

/** `host[:port]` of every address that these settings want to reach over plain http: for the egress policy. */
export const plainTextHosts = (settings: CallerSettings): readonly string[] =>
  settings.oidc
    .filter((issuer) => issuer.allowPlainText)
    .flatMap((issuer) => [
      issuer.issuer,
      typeof issuer.jwks === 'object' && 'url' in issuer.jwks ? issuer.jwks.url : undefined,
    ])
    .map((address) => (address === undefined ? undefined : parsedUrl(address)))
    .filter((address) => address?.protocol === 'http:')
    .map((address) => address?.host ?? '');
