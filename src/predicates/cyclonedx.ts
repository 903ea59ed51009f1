import { z } from 'zod';
import { structured, text } from './structure.ts';

const component = z.looseObject({ type: text, name: text });

/** A CycloneDX bill of materials as JSON (ECMA-424, bom-1.x.schema.json): what every version requires. */
export const cyclonedx = structured(
  'https://cyclonedx.org/bom',
  ['cyclonedx'],
  z.looseObject({
    bomFormat: z.literal('CycloneDX', { error: 'must be CycloneDX' }),
    specVersion: z.string().regex(/^[12]\.[0-9]+$/, 'must be 1.4, 1.5, 1.6, ...'),
    version: z.int().min(1, 'must be 1 or more').optional(),
    serialNumber: z
      .string()
      .regex(/^urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'must be urn:uuid: and a UUID in lower case')
      .optional(),
    metadata: z.looseObject({ component: component.optional() }).optional(),
    components: z.array(component).optional(),
  }),
);
