import { sha256 } from '../model/digest.ts';
import type { Content } from './blobs.ts';
import type { Entries } from './growing-list.ts';
import type { JsonObject } from './manifest.ts';

/** Bytes in pieces, one after the other. */
type Pieces = readonly Uint8Array[];

/** What a list of layers is in the bytes of an image manifest and of its config: without the brackets around it. */
type Written = { readonly layers: Pieces; readonly diffIds: Uint8Array };

/** Of lists that were written here. Longer ones share the bytes of those that they were made of. */
const writtenHere = new WeakMap<Entries, Written>();

/** Most signatures that one tag may hold; cosign reads no more either. */
export const maxLayers = 1_000;

const created = '0001-01-01T00:00:00Z';
const configStart = Buffer.from(`{"architecture":"","created":"${created}","history":[`);
const configMiddle = Buffer.from('],"os":"","rootfs":{"type":"layers","diff_ids":[');
const configEnd = Buffer.from(']},"config":{}}');
const history = `{"created":"${created}"},`;
const histories = Buffer.from(history.repeat(maxLayers));
const none = Buffer.alloc(0);

/**
 * The config that cosign writes through go-containerregistry: an image config of zero values with one `diff_id` and one
 * history entry a layer. The layers are not compressed, so their diff ids are their digests, in which nothing needs to be
 * escaped. At most `maxLayers`. `diffIds` is for `encodeManifest`.
 */
export const encodeConfig = (before: Entries, added: Entries): Content & { readonly diffIds: Uint8Array } => {
  const end = Math.max(0, (before.length + added.length) * history.length - 1);
  const start = [configStart, histories.subarray(0, end), configMiddle];
  const known = writtenHere.get(before)?.diffIds ?? Buffer.from(quoted(before));
  const bytes = Buffer.concat([...start, known, Buffer.from(after(known, quoted(added))), configEnd]);
  const from = start.reduce((sum, piece) => sum + piece.byteLength, 0);
  const diffIds = bytes.subarray(from, bytes.byteLength - configEnd.byteLength);
  return { bytes, digest: sha256(bytes), diffIds };
};

/**
 * The bytes of an image manifest, as `encodeJson` makes them, in pieces: `json`, whose `layers` are those that were there and
 * those that are added. The pieces of what was written here before are not even copied, most times: half a megabyte that
 * comes and goes with each signature costs more than the rest of it.
 */
export const encodeManifest = (
  json: JsonObject & { readonly layers: Entries },
  before: Entries,
  added: Entries,
  diffIds: Uint8Array,
): Pieces => {
  const names = Object.keys(json);
  const at = names.indexOf('layers');
  const first = fields(json, names.slice(0, at));
  const last = fields(json, names.slice(at + 1));
  const [known = none, recent = none] = writtenHere.get(before)?.layers ?? [Buffer.from(items(before))];
  const layers = joined(known, Buffer.concat([recent, Buffer.from(after(known, items(added)))]));
  writtenHere.set(json.layers, { layers, diffIds });
  return [Buffer.from(`{${first}${first && ','}"layers":[`), ...layers, Buffer.from(`]${last && ','}${last}}`)];
};

/** Two pieces while the latter is short: that one is copied each time, and both together each time that it has grown long. */
const joined = (known: Uint8Array, recent: Uint8Array): Pieces =>
  recent.byteLength * 16 <= known.byteLength ? [known, recent] : [Buffer.concat([known, recent])];

const after = (known: Uint8Array, items: string): string =>
  known.byteLength > 0 && items !== '' ? `,${items}` : items;

const quoted = (entries: Entries): string => entries.map(({ digest }) => `"${digest}"`).join(',');

/** `{..},{..}`; nothing for none. */
const items = (entries: Entries): string => JSON.stringify(entries).slice(1, -1);

/** `"a":1,"b":2`; nothing for none. */
const fields = (json: JsonObject, names: readonly string[]): string =>
  JSON.stringify(Object.fromEntries(names.map((name) => [name, json[name]]))).slice(1, -1);
