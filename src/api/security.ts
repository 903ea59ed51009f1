import type { SecureContextOptions, TlsOptions } from 'node:tls';
import type { TlsMaterial } from '../net/tls.ts';

/** How a listener is secured. Plain text only where the configuration says so in words. */
export type ListenerSecurity =
  | { readonly kind: 'plaintext' }
  | {
      readonly kind: 'tls';
      /** With `ca`, clients are asked for a certificate by one of these authorities. */
      readonly material: TlsMaterial;
      /** Only with `ca`: a client without a valid certificate is turned away. */
      readonly requireClientCertificate: boolean;
    };

/** Where a listener listens: a host name or address, and a port (0: any free one). */
export type ListenAddress = { readonly host: string; readonly port: number };

/** What of a listener changes with its certificate, for `setSecureContext` of node:tls. */
export const secureContextOf = ({ cert, key, ca }: TlsMaterial): SecureContextOptions => ({
  cert,
  key,
  minVersion: 'TLSv1.2',
  ...(ca === undefined ? {} : { ca }),
});

/** Options of node:tls for a listener: TLS 1.2 and later, `alpn` the one protocol that it speaks. */
export const tlsOptions = (
  security: Extract<ListenerSecurity, { kind: 'tls' }>,
  handshakeMs: number,
  alpn: readonly string[],
): TlsOptions => ({
  ...secureContextOf(security.material),
  handshakeTimeout: handshakeMs,
  ALPNProtocols: [...alpn],
  ...(security.material.ca === undefined
    ? {}
    : { requestCert: true, rejectUnauthorized: security.requireClientCertificate }),
});
