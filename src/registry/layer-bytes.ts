import { sha256Of } from '../model/digest.ts';
import type { Content } from './blobs.ts';
import { appended, growing, type GrowingBytes } from './growing-bytes.ts';
import type { Entries } from './growing-list.ts';
import type { JsonObject } from './manifest.ts';
import type { Pieces } from './pieces.ts';

/**
 * What a list of layers is in the bytes of an image manifest and of its config: without the brackets around it, but for what
 * comes before the diff ids.
 */
type Written = { readonly layers: GrowingBytes; readonly diffIds: GrowingBytes };

/** Of lists that were written here. Longer ones share the bytes of those that they were made of. */
const writtenHere = new WeakMap<Entries, Written>();

/** Most signatures that one tag may hold; cosign reads no more either. */
export const maxLayers = 1_000;

const created = '0001-01-01T00:00:00Z';
const configStart = `{"architecture":"","created":"${created}","history":[`;
const history = `{"created":"${created}"},`;
const histories = Buffer.from(configStart + history.repeat(maxLayers));
const configMiddle = '],"os":"","rootfs":{"type":"layers","diff_ids":[';
const configEnd = Buffer.from(']},"config":{}}');

/**
 * The config that cosign writes through go-containerregistry: an image config of zero values with one `diff_id` and one
 * history entry a layer. The layers are not compressed, so their diff ids are their digests, in which nothing needs to be
 * escaped. At most `maxLayers`. `diffIds` is for `encodeManifest`.
 */
export const encodeConfig = (before: Entries, added: Entries): Content & { readonly diffIds: GrowingBytes } => {
  const known = writtenHere.get(before)?.diffIds ?? growing(Buffer.from(configMiddle + quoted(before)));
  const diffIds = appended(known, Buffer.from(after(before, quoted(added))));
  // Without the comma after the last.
  const end = configStart.length + Math.max(0, (before.length + added.length) * history.length - 1);
  const pieces = [histories.subarray(0, end), diffIds.bytes, configEnd];
  return { pieces, digest: sha256Of(pieces), diffIds };
};

/**
 * The bytes of an image manifest, as `encodeJson` makes them, in pieces: `json`, whose `layers` are those that were there and
 * those that are added. What was written here before is not even copied, most times: half a megabyte that comes and goes with
 * each signature costs more than the rest of it.
 */
export const encodeManifest = (
  json: JsonObject & { readonly layers: Entries },
  before: Entries,
  added: Entries,
  diffIds: GrowingBytes,
): Pieces => {
  const names = Object.keys(json);
  const at = names.indexOf('layers');
  const first = fields(json, names.slice(0, at));
  const last = fields(json, names.slice(at + 1));
  const known = writtenHere.get(before)?.layers ?? growing(Buffer.from(items(before)));
  const layers = appended(known, Buffer.from(after(before, items(added))));
  writtenHere.set(json.layers, { layers, diffIds });
  return [Buffer.from(`{${first}${first && ','}"layers":[`), layers.bytes, Buffer.from(`]${last && ','}${last}}`)];
};

const after = (before: Entries, items: string): string => (before.length > 0 && items !== '' ? `,${items}` : items);

const quoted = (entries: Entries): string => entries.map(({ digest }) => `"${digest}"`).join(',');

/** `{..},{..}`; nothing for none. */
const items = (entries: Entries): string => JSON.stringify(entries).slice(1, -1);

/** `"a":1,"b":2`; nothing for none. */
const fields = (json: JsonObject, names: readonly string[]): string =>
  JSON.stringify(Object.fromEntries(names.map((name) => [name, json[name]]))).slice(1, -1);
