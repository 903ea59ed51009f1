/** The candidate that a mistyped word most likely means: at most 2 edits away, or a third of its length. */
export const suggest = (word: string, candidates: readonly string[]): string | undefined => {
  const limit = Math.max(2, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance && distance < candidate.length) [best, bestDistance] = [candidate, distance];
  }
  return best;
};

/** `; did you mean X?` or nothing: for the end of a message. */
export const didYouMean = (word: string, candidates: readonly string[]): string => {
  const found = suggest(word, candidates);
  return found === undefined ? '' : `; did you mean ${found}?`;
};

/** Levenshtein distance; words are short, so the plain two-row method. */
const editDistance = (from: string, to: string): number => {
  const first = from.slice(0, 64);
  const second = to.slice(0, 64);
  let previous = Array.from({ length: second.length + 1 }, (_, column) => column);
  for (let row = 1; row <= first.length; row++) {
    const current = [row];
    for (let column = 1; column <= second.length; column++) {
      const changed = first[row - 1] === second[column - 1] ? 0 : 1;
      const substitute = (previous[column - 1] ?? 0) + changed;
      current.push(Math.min(substitute, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[second.length] ?? 0;
};
