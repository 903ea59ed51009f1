// A process that holds leases: `url name count durationMs file`. Each appends `+` to the file when its work begins and `-` when it
// ends; without a count one lease is held until the process is killed.
import { appendFileSync } from 'node:fs';
import { leaseSettings } from '../../src/registry/leases/settings.ts';
import { openLease } from '../../src/registry/leases/open.ts';
import { within } from '../registry/world.ts';

const [url, name = '', count = '0', durationMs, file = ''] = process.argv.slice(2);
const settings = leaseSettings.parse({ kind: 'valkey', url, durationMs: Number(durationMs), waitMs: 60_000 });
const lease = await openLease(settings, { allowPrivate: [], warn: console.error });
const hold = () =>
  lease.hold(name, within(60_000), async () => {
    appendFileSync(file, '+');
    if (count === '0') await new Promise((done) => setTimeout(done, 60_000));
    await new Promise((done) => setTimeout(done, 2));
    appendFileSync(file, '-');
    return {};
  });
await Promise.all(Array.from({ length: Number(count) || 1 }, hold));
await lease.close();
