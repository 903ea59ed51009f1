// The fault table (security.md section 5): every way in which a registry can fail or lie.
import { challenges, tokenServices } from './fault-cases-auth.ts';
import { locations, redirects } from './fault-cases-elsewhere.ts';
import { lies, uploads } from './fault-cases-lies.ts';
import { links } from './fault-cases-lists.ts';
import { mediaTypes } from './fault-cases-types.ts';
import { failing, throttling } from './fault-cases-trouble.ts';
import { uncertain } from './fault-cases-uncertain.ts';
import type { FaultCase } from './fault-case.ts';

/** More than any case needs that does not end by its deadline. */
export const patientMs = 25_000;
/** What may pass between a deadline and the answer, on a busy machine. */
export const marginMs = 8_000;

export const table: Readonly<Record<string, readonly FaultCase[]>> = {
  throttling,
  failing,
  'stored, but not for certain': uncertain,
  challenges,
  'token services': tokenServices,
  redirects,
  'upload locations': locations,
  'links and foreign URLs': links,
  lies,
  'media types': mediaTypes,
  uploads,
};
