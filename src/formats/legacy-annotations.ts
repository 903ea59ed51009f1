import type { Opened } from './port.ts';

/** Annotations of a layer in cosign's tag layout (cosign SIGNATURE_SPEC, "Properties"). */
export const signatureAnnotation = 'dev.cosignproject.cosign/signature';
export const certificateAnnotation = 'dev.sigstore.cosign/certificate';

/** Nobody signed these annotations, so a certificate there does not forbid a key: cosign tries the key as well. */
export const materialOf = (certificate: string | undefined): Opened['material'] =>
  certificate === undefined || certificate.trim() === '' ? 'key' : 'key-or-certificate';
