import { z } from 'zod';
import { structured, text, timestamp } from './structure.ts';

/** SPDX 2.x (spdx-schema.json, "required"). */
const spdx2 = z.looseObject({
  spdxVersion: z.string().regex(/^SPDX-2\.[0-9]+$/, 'must be SPDX-2.2, SPDX-2.3, ...'),
  SPDXID: text,
  name: text,
  dataLicense: text,
  creationInfo: z.looseObject({
    created: timestamp,
    creators: z.array(text).min(1, 'must name at least one creator'),
  }),
  documentNamespace: z.string().optional(),
});

/** SPDX 3 is JSON-LD (SPDX 3.0.1, "Serialization"). */
const spdx3 = z.looseObject({ '@context': text, '@graph': z.array(z.unknown()).min(1, 'must not be empty') });

/** An SPDX document as JSON. cosign knows tag-value text as well; here it is JSON or nothing. */
export const spdx = structured(
  'https://spdx.dev/Document',
  ['spdxjson', 'spdx'],
  z.looseObject({}).transform((document, context) => {
    const parsed = (Object.hasOwn(document, '@graph') ? spdx3 : spdx2).safeParse(document);
    for (const issue of parsed.error?.issues ?? []) {
      context.addIssue({ code: 'custom', path: [...issue.path], message: issue.message });
    }
  }),
);
