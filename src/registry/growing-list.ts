import type { ManifestDescriptor } from './manifest.ts';

/** Entries of a manifest. A list never changes; a longer one is made of it. */
export type Entries = readonly ManifestDescriptor[];

/** Lists of which each is the beginning of the next. What is found out about the longest holds for all, up to their ends. */
type Family = { length: number; readonly tables: Map<object, Table> };
type Table = { covered: number; readonly byKey: Map<string, Placed[]> };
/** An entry, and its place in the list. */
export type Placed = { readonly at: number; readonly entry: ManifestDescriptor };

const families = new WeakMap<Entries, Family>();

const familyOf = (list: Entries): Family => {
  const known = families.get(list);
  if (known !== undefined) return known;
  const family: Family = { length: list.length, tables: new Map() };
  families.set(list, family);
  return family;
};

/** The list and these after it. An index of the list goes on with it, so that one more of a thousand costs one. */
export const grown = (list: Entries, added: Entries): Entries => {
  const longer = [...list, ...added];
  const family = familyOf(list);
  // Of two that were made of one list, only the first is of its family.
  if (family.length === list.length) {
    family.length = longer.length;
    families.set(longer, family);
  }
  return longer;
};

/** Answers with the entries of a list that have a key, in their order. The first question looks at all of them. */
export type EntryIndex = (list: Entries, key: string) => readonly Placed[];

/** `keysOf` is asked once for each entry. */
export const createEntryIndex = (keysOf: (entry: ManifestDescriptor) => readonly string[]): EntryIndex => {
  const tableOf = (list: Entries): Table => {
    const { tables } = familyOf(list);
    const table = tables.get(keysOf) ?? { covered: 0, byKey: new Map<string, Placed[]>() };
    tables.set(keysOf, table);
    for (; table.covered < list.length; table.covered++) {
      const entry = list[table.covered];
      if (entry === undefined) continue;
      for (const key of keysOf(entry)) {
        const placed = table.byKey.get(key);
        if (placed === undefined) table.byKey.set(key, [{ at: table.covered, entry }]);
        else placed.push({ at: table.covered, entry });
      }
    }
    return table;
  };
  return (list, key) => {
    const placed = tableOf(list).byKey.get(key) ?? [];
    // What comes after the end of this list is of a longer one.
    return placed.at(-1) === undefined || (placed.at(-1)?.at ?? 0) < list.length
      ? placed
      : placed.filter(({ at }) => at < list.length);
  };
};
