import type { TlsOptions } from 'node:tls';
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

/** Options of node:tls for a listener: TLS 1.2 and later, `alpn` the one protocol that it speaks. */
export const tlsOptions = (
  security: Extract<ListenerSecurity, { kind: 'tls' }>,
  handshakeMs: number,
  alpn: readonly string[],
): TlsOptions => ({
  cert: security.material.cert,
  key: security.material.key,
  minVersion: 'TLSv1.2',
  handshakeTimeout: handshakeMs,
  ALPNProtocols: [...alpn],
  ...(security.material.ca === undefined
    ? {}
    : { ca: security.material.ca, requestCert: true, rejectUnauthorized: security.requireClientCertificate }),
});
