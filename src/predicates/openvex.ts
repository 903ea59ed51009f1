import { z } from 'zod';
import { structured, text, timestamp } from './structure.ts';

const statement = z
  .looseObject({
    vulnerability: z.union([text, z.looseObject({ name: text })], {
      error: 'must be a name, or an object with a name',
    }),
    status: z.enum(['not_affected', 'affected', 'fixed', 'under_investigation'], {
      error: 'must be not_affected, affected, fixed or under_investigation',
    }),
    timestamp: timestamp.optional(),
    products: z.array(z.unknown()).optional(),
  })
  .refine(
    ({ status, justification, impact_statement: impact }) =>
      status !== 'not_affected' || typeof justification === 'string' || typeof impact === 'string',
    { error: 'with status not_affected needs a justification or an impact_statement' },
  );

/** An OpenVEX document (openvex/spec, "Document Struct Fields", "Statement Fields"). */
export const openvex = structured(
  'https://openvex.dev/ns',
  ['openvex'],
  z.looseObject({
    '@context': z
      .string()
      .regex(
        /^https:\/\/openvex\.dev\/ns(?:\/v[0-9]+(?:\.[0-9]+)*)?$/,
        'must be https://openvex.dev/ns or a version of it',
      ),
    '@id': text,
    author: text,
    timestamp: timestamp.optional(),
    version: text.or(z.int().min(1)).optional(),
    statements: z.array(statement).min(1, 'must not be empty'),
  }),
);
