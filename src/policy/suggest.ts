import { suggest } from '../codec/suggest.ts';

/** How to mend an unknown word: the nearest known one, or all of them when they are few. */
export const suggestion = (word: string, known: readonly string[]): string => {
  const nearest = suggest(word, known);
  if (nearest !== undefined) return `did you mean "${nearest}"?`;
  if (known.length === 0) return 'there are none';
  const shown = known.slice(0, 20).join(', ');
  return `use one of: ${shown}${known.length > 20 ? ', ...' : ''}`;
};
