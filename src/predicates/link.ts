import { z } from 'zod';
import { jsonObject, structured } from './structure.ts';

/** An in-toto link (in-toto specification 0.9, section 4.4), every member of which cosign asks for. */
export const link = structured(
  'https://in-toto.io/Link/v1',
  ['link'],
  z.looseObject({
    _type: z.literal('link', { error: 'must be link' }),
    name: z.string(),
    command: z.array(z.string()),
    materials: jsonObject,
    products: jsonObject,
    byproducts: jsonObject,
    environment: jsonObject,
  }),
);
