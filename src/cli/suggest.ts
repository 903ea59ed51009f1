import { suggest } from '../codec/suggest.ts';

/** ` Did you mean X?` or nothing: what follows a sentence. */
export const didYouMean = (word: string, candidates: readonly string[], prefix = ''): string => {
  const found = suggest(word, candidates);
  return found === undefined ? '' : ` Did you mean ${prefix}${found}?`;
};
