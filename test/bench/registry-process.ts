/*
 * The embedded registry in a process of its own: prints its host, and counts: `GET /requests` answers how many there were.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { registryListener } from '../../src/dev/registry.ts';

const { listener, requests } = registryListener({});
const server = createServer((request, response) => {
  if (request.url === '/requests') response.end(String(requests.length));
  else listener(request, response);
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});
process.once('SIGTERM', () => process.exit(0));
