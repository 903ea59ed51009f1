import { z } from 'zod';
import { structured, text, timestamp } from './structure.ts';

/** cosign's vulnerability scan record (cosign COSIGN_VULN_ATTESTATION_SPEC). */
export const vuln = structured(
  'https://cosign.sigstore.dev/attestation/vuln/v1',
  ['vuln'],
  z.looseObject({
    invocation: z
      .looseObject({
        parameters: z.unknown().optional(),
        uri: z.string().optional(),
        event_id: z.string().optional(),
        'builder.id': z.string().optional(),
      })
      .optional(),
    scanner: z.looseObject({
      uri: text,
      version: z.string().optional(),
      db: z.looseObject({ uri: z.string().optional(), version: z.string().optional() }).optional(),
      result: z.looseObject({}).or(z.array(z.unknown())).nullish(),
    }),
    metadata: z.looseObject({ scanStartedOn: timestamp, scanFinishedOn: timestamp }),
  }),
);
