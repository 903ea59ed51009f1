import { invalidArgument } from '../model/error.ts';
import type { PredicateType } from './port.ts';
import { jsonObject, structured } from './structure.ts';

/** cosign's own wrapper around anything (cosign COSIGN_PREDICATE_SPEC): the JSON text and when it was attested. */
export const custom: PredicateType = {
  uri: 'https://cosign.sigstore.dev/attestation/v1',
  aliases: ['custom'],
  check: (predicate, now) => {
    if (predicate === undefined) throw invalidArgument([{ field: 'predicate', description: 'must not be empty' }]);
    return {
      Data: typeof predicate === 'string' ? predicate : JSON.stringify(predicate),
      Timestamp: `${now.toISOString().slice(0, 19)}Z`,
    };
  },
};

/** Any other predicate type: nothing is known of it but that it is a JSON object (in-toto "Statement", `predicate`). */
export const unknownType = (uri: string): PredicateType => structured(uri, [], jsonObject);
