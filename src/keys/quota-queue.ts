type Linked<Node> = { before: Node | undefined; after: Node | undefined };
type List<Node> = { first: Node | undefined; last: Node | undefined };

const append = <Node extends Linked<Node>>(list: List<Node>, node: Node): void => {
  node.before = list.last;
  node.after = undefined;
  if (list.last === undefined) list.first = node;
  else list.last.after = node;
  list.last = node;
};

const unlink = <Node extends Linked<Node>>(list: List<Node>, node: Node): void => {
  if (node.before === undefined) list.first = node.after;
  else node.before.after = node.after;
  if (node.after === undefined) list.last = node.before;
  else node.after.before = node.before;
};

/** One that waits. `weight` is what it counts for in shares: a whole number, at least 1. The rest is the queue's own. */
export interface Turn<T> extends Linked<Turn<T>> {
  readonly value: T;
  readonly weight: number;
  readonly line: Line<T>;
}

/** The turns of one caller. `owes`: how many rounds it sits out, since its last turn was of a weight above 1. */
interface Line<T> extends Linked<Line<T>>, List<Turn<T>> {
  readonly caller: string;
  size: number;
  weight: number;
  owes: number;
}

/**
 * A queue in which callers take turns: deficit round robin (Shreedhar and Varghese, 1995) with a quantum of 1. First come,
 * first served within a caller; equal shares of weight between callers. It keeps nothing of a caller who has nothing in
 * it. Constant time, except where it says that it walks over the callers.
 */
export type FairQueue<T> = {
  readonly size: number;
  /** How many turns of a caller wait. */
  waiting(caller: string): number;
  add(caller: string, weight: number, value: T): Turn<T>;
  /** Whose turn is next; undefined when nobody waits. */
  next(): Turn<T> | undefined;
  /** The one that is next gets its turn and leaves; other callers come before the next of the same. */
  take(turn: Turn<T>): void;
  /** One that waits leaves without its turn. */
  remove(turn: Turn<T>): void;
  /** How much weight has its turn before one that is added now, about. Walks over the callers. */
  ahead(caller: string, weight: number): number;
  /** The newest of the caller with the most turns. Walks over the callers. */
  newestOfLongest(): Turn<T> | undefined;
};

export const createFairQueue = <T>(): FairQueue<T> => {
  const byCaller = new Map<string, Line<T>>();
  const lines: List<Line<T>> = { first: undefined, last: undefined };
  let size = 0;

  const lineOf = (caller: string): Line<T> => {
    const known = byCaller.get(caller);
    if (known !== undefined) return known;
    const ends = { before: undefined, after: undefined, first: undefined, last: undefined };
    const line: Line<T> = { ...ends, caller, size: 0, weight: 0, owes: 0 };
    byCaller.set(caller, line);
    append(lines, line);
    return line;
  };

  const toTheEnd = (line: Line<T>): void => {
    unlink(lines, line);
    append(lines, line);
  };

  const remove = (turn: Turn<T>): void => {
    const { line } = turn;
    unlink(line, turn);
    line.size -= 1;
    line.weight -= turn.weight;
    size -= 1;
    if (line.size > 0) return;
    unlink(lines, line);
    byCaller.delete(line.caller);
  };

  return {
    get size() {
      return size;
    },
    waiting: (caller) => byCaller.get(caller)?.size ?? 0,
    add: (caller, weight, value) => {
      const line = lineOf(caller);
      const turn: Turn<T> = { before: undefined, after: undefined, value, weight, line };
      append(line, turn);
      line.size += 1;
      line.weight += weight;
      size += 1;
      return turn;
    },
    next: () => {
      // Each round sat out pays for one of the weight that had its turn, so this is constant time for each of those.
      while (lines.first !== undefined && lines.first !== lines.last && lines.first.owes > 0) {
        lines.first.owes -= 1;
        toTheEnd(lines.first);
      }
      return lines.first?.first;
    },
    take: (turn) => {
      turn.line.owes = turn.weight - 1;
      toTheEnd(turn.line);
      remove(turn);
    },
    remove,
    ahead: (caller, weight) => {
      const own = byCaller.get(caller);
      const before = own?.weight ?? 0;
      let all = before;
      // Whoever stands before the caller's line has one more turn than whoever stands behind.
      let most = before + weight;
      for (let line = lines.first; line !== undefined; line = line.after) {
        if (line === own) most = before;
        else all += Math.min(line.weight, most);
      }
      return all;
    },
    newestOfLongest: () => {
      let longest = lines.first;
      for (let line = longest; line !== undefined; line = line.after) {
        if (line.size > (longest?.size ?? 0)) longest = line;
      }
      return longest?.last;
    },
  };
};
