// A process that attaches one signature at the `.sig` tag of an image: `url reference durationMs name`.
import { leaseSettings } from '../../src/registry/leases/settings.ts';
import { openLease } from '../../src/registry/leases/open.ts';
import { clientFor, layer, resolve, within } from '../registry/world.ts';

const [url, reference = '', durationMs, name = ''] = process.argv.slice(2);
const settings = leaseSettings.parse({ kind: 'valkey', url, durationMs: Number(durationMs) });
const lease = await openLease(settings, { allowPrivate: [], warn: console.error });
const registry = clientFor(reference.slice(0, reference.indexOf('/')), undefined, 3, { settleMs: 1_000, lease });
await registry.attach(await resolve(registry, reference), layer(name), undefined, within(60_000));
await registry.close();
await lease.close();
