import { z } from 'zod';

const path = z.string().min(1);

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1));

/** `host:port`, an IPv6 address in brackets. */
const address = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):\d{1,5}$/, 'must be host:port, such as 0.0.0.0:8080')
  .refine((text) => !(portOf(text) > 65_535), 'must have a port of at most 65535');

const tls = z
  .strictObject({
    certFile: path.describe('Certificate chain, PEM, leaf first.'),
    keyFile: path.describe('Its private key, PEM, unencrypted.'),
    clientCaFile: path.optional().describe('CA certificates, PEM, that client certificates must come from.'),
    clientCertificate: z
      .enum(['required', 'optional'])
      .optional()
      .describe('Must clients show a certificate, or may they? Needs clientCaFile; then the default is required.'),
  })
  .refine(({ clientCaFile, clientCertificate }) => clientCertificate === undefined || clientCaFile !== undefined, {
    path: ['clientCertificate'],
    message: 'needs clientCaFile',
  });

const listener = z
  .strictObject({
    address: address.describe('Where to listen: host:port, an IPv6 address in brackets; port 0 takes a free one.'),
    tls: tls.optional().describe('TLS 1.2 or newer, with these files.'),
    transport: z.literal('plaintext').optional().describe('Says in words that there is no TLS here.'),
  })
  .superRefine((settings, context) => {
    if (settings.tls !== undefined && settings.transport !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['transport'],
        message: 'tls and transport: plaintext exclude each other',
      });
    }
    if (settings.tls === undefined && settings.transport === undefined) {
      context.addIssue({
        code: 'custom',
        message: 'needs tls; or, for a listener without it, transport: plaintext',
      });
    }
  });

/** Probes and scrapers of the platform speak plain HTTP; it is said in words all the same. */
const adminListener = z.strictObject({
  address: address.describe('Where to listen: host:port; never a public address.'),
  transport: z
    .literal('plaintext', {
      error: 'must be "plaintext": the admin listener has no TLS, so keep it on an inner address',
    })
    .describe('Says in words that there is no TLS here.'),
});

/** Section `listeners` of the configuration. */
export const listenerSettings = z
  .strictObject({
    grpc: listener.optional().describe('The gRPC API.'),
    rest: listener.optional().describe('The REST API.'),
    admin: adminListener.optional().describe('/livez, /readyz, /metrics and /version; for the platform only.'),
  })
  .refine(({ grpc, rest }) => grpc !== undefined || rest !== undefined, 'needs grpc or rest, or both');

export type ListenerSettings = z.output<typeof listener>;

/** `host:port` as the two things that `listen` wants; brackets removed. */
export const hostAndPort = (address: string): { readonly host: string; readonly port: number } => {
  return { host: address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, ''), port: portOf(address) };
};
