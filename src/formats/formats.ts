import type { FormatName } from '../model/signature.ts';
import { bundle } from './bundle.ts';
import { dsse } from './dsse.ts';
import type { SignatureFormat } from './port.ts';
import { simpleSigning } from './simple-signing.ts';

/** Every signature format by its name. */
export const formats: Readonly<Record<FormatName, SignatureFormat>> = {
  'simple-signing': simpleSigning,
  dsse,
  bundle,
};

/** The format that reads a stored layer of this media type, if any. */
export const formatOf = (mediaType: string): SignatureFormat | undefined =>
  Object.values(formats).find((format) => format.reads(mediaType));
