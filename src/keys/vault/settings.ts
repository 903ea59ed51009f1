import { z } from 'zod';
import { commonSettings, fipsCertificate, line, secret } from '../common-settings.ts';

const pathSegments = /^[\w.-]+(?:\/[\w.-]+)*$/;
const noDots = (path: string): boolean => !path.split('/').some((segment) => segment === '.' || segment === '..');

const mount = (what: string) =>
  z
    .string()
    .max(256, 'must have at most 256 characters')
    .regex(pathSegments, `must be the path of the ${what}, such as "a/b", without leading or trailing slash`)
    .refine(noDots, 'must not hold "." or ".." segments');

/** The grammar of sigstore's `hashivault://` references. */
const keyPattern = /^\w(?:[\w.-]{0,253}\w)?$/;
const refPattern = /^(?:hashivault|openbao):\/\/(\w(?:[\w.-]{0,253}\w)?)$/;

const loopback = new Set(['localhost', '127.0.0.1', '[::1]']);

const address = line
  .refine((text) => {
    const url = URL.parse(text);
    return (
      url !== null && /^https?:$/.test(url.protocol) && `${url.username}${url.password}${url.search}${url.hash}` === ''
    );
  }, 'must be an address such as https://vault.example.com:8200, without user, query or fragment')
  .refine((text) => {
    const url = URL.parse(text);
    return url === null || url.pathname === '/';
  }, 'must not have a path: name the mount in "mount" and the namespace in "namespace"')
  .describe('Address of Vault or OpenBao: https; http only for loopback, or with plainText.');

const tokenLogin = z
  .strictObject({
    method: z.literal('token'),
    token: secret.min(1, 'must not be empty').optional().describe('The token; take it from the environment.'),
    tokenFile: line.optional().describe('File with the token; read again when the token is refused.'),
  })
  .refine((login) => (login.token === undefined) !== (login.tokenFile === undefined), {
    path: ['tokenFile'],
    message: 'exactly one of token and tokenFile must be set',
  });

const approleLogin = z
  .strictObject({
    method: z.literal('approle'),
    mount: mount('AppRole auth method').default('approle'),
    roleId: secret.min(1, 'must not be empty').optional(),
    roleIdFile: line.optional(),
    secretId: secret.min(1, 'must not be empty').optional(),
    secretIdFile: line.optional().describe('Read at every login.'),
  })
  .superRefine((login, context) => {
    if ((login.roleId === undefined) === (login.roleIdFile === undefined)) {
      context.addIssue({
        code: 'custom',
        path: ['roleId'],
        message: 'exactly one of roleId and roleIdFile must be set',
      });
    }
    if (login.secretId !== undefined && login.secretIdFile !== undefined) {
      context.addIssue({ code: 'custom', path: ['secretId'], message: 'secretId and secretIdFile cannot both be set' });
    }
  });

const kubernetesLogin = z.strictObject({
  method: z.literal('kubernetes'),
  mount: mount('Kubernetes auth method').default('kubernetes'),
  role: line,
  tokenFile: line
    .default('/var/run/secrets/kubernetes.io/serviceaccount/token')
    .describe('Service account token; read at every login.'),
});

const jwtLogin = z.strictObject({
  method: z.literal('jwt'),
  mount: mount('JWT auth method').default('jwt'),
  role: line,
  tokenFile: line.describe('File with the JWT; read at every login.'),
});

const certLogin = z.strictObject({
  method: z.literal('cert'),
  mount: mount('TLS certificate auth method').default('cert'),
  certFile: line.describe('Client certificate, PEM, with its chain; read at every login.'),
  keyFile: line.describe('Its private key, PEM, unencrypted; read at every login.'),
  name: line.optional().describe('The certificate role of Vault to log in as. Default: any that the certificate fits.'),
});

/** A key in the transit engine of HashiCorp Vault or OpenBao. */
export const vaultSettings = z
  .strictObject({
    ...commonSettings,
    kind: z.literal('vault'),
    fipsCertificate,
    address,
    plainText: z
      .boolean()
      .default(false)
      .describe('Allow http to a host that is not loopback: the token travels unprotected.'),
    caFile: line.optional().describe('PEM certificates that are trusted besides the system roots.'),
    namespace: mount('namespace').optional().describe('Namespace of Vault Enterprise or OpenBao.'),
    mount: mount('transit engine')
      .default('transit')
      .describe('Path at which the transit engine is mounted; TRANSIT_SECRET_ENGINE_PATH of cosign is this.'),
    key: z
      .string()
      .regex(keyPattern, 'must be the name of a transit key: letters, digits, "_", "." and "-"')
      .optional()
      .describe('Name of the transit key.'),
    ref: z
      .string()
      .regex(
        refPattern,
        'must be hashivault://KEY or openbao://KEY; address, mount, namespace and version have fields of their own',
      )
      .optional()
      .describe('The key as cosign users write it, instead of "key".'),
    version: z
      .int()
      .min(1, 'must be at least 1')
      .optional()
      .describe('Sign with this version. Default: the latest one when the key is opened.'),
    login: z.discriminatedUnion('method', [tokenLogin, approleLogin, kubernetesLogin, jwtLogin, certLogin]),
  })
  .superRefine((settings, context) => {
    if ((settings.key === undefined) === (settings.ref === undefined)) {
      context.addIssue({ code: 'custom', path: ['key'], message: 'exactly one of key and ref must be set' });
    }
    const url = URL.parse(settings.address);
    if (url?.protocol === 'http:' && !settings.plainText && !loopback.has(url.hostname)) {
      context.addIssue({
        code: 'custom',
        path: ['address'],
        message: 'must be https; plain text to another host needs "plainText: true"',
      });
    }
    if (url?.protocol === 'http:' && settings.login.method === 'cert') {
      context.addIssue({ code: 'custom', path: ['address'], message: 'must be https: a cert login is made in TLS' });
    }
  });

export type VaultSettings = z.infer<typeof vaultSettings>;
export type VaultLogin = VaultSettings['login'];

/** The name of the transit key, however it was written. */
export const transitKeyName = (settings: VaultSettings): string =>
  settings.key ?? refPattern.exec(settings.ref ?? '')?.[1] ?? '';
