/** Edits between two words (Levenshtein); words are short. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replace));
    }
    row = next;
  }
  return row[b.length] ?? 0;
};

/** The known word that `word` was most likely meant to be; undefined when none is near. */
export const nearestWord = (word: string, known: readonly string[]): string | undefined => {
  if (word.length > 100) return undefined;
  const ranked = known
    .map((candidate) => ({ candidate, edits: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  return best !== undefined && best.edits <= Math.max(word.length < 4 ? 1 : 2, Math.floor(word.length / 3))
    ? best.candidate
    : undefined;
};

/** How to mend an unknown word: the nearest known one, or all of them when they are few. */
export const suggestion = (word: string, known: readonly string[]): string => {
  const nearest = nearestWord(word, known);
  if (nearest !== undefined) return `did you mean "${nearest}"?`;
  if (known.length === 0) return 'there are none';
  const shown = known.slice(0, 20).join(', ');
  return `use one of: ${shown}${known.length > 20 ? ', ...' : ''}`;
};
