import { get } from 'node:http';
import { CountersignError } from '../model/error.ts';
import { parseTimeout } from './address.ts';
import { type Command, UsageError } from './command.ts';
import { outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { wantsJson } from './output.ts';

export const health: Command = {
  name: 'health',
  summary: 'ask the admin listener whether the service lives: the health check of containers',
  usage: ['[options]'],
  about: ['Exits with 0 when the answer is 200, with 10 when it is another one, with 7 when there is none.'],
  options: [
    {
      name: 'url',
      type: 'text',
      value: 'URL',
      help: 'what to ask: /livez or /readyz of the admin listener',
      default: 'http://127.0.0.1:9090/livez',
      env: 'COUNTERSIGN_HEALTH_URL',
    },
    { name: 'timeout', type: 'text', value: 'TIME', help: 'how long to wait: 2s, 500ms', default: '2s' },
    outputOption,
  ],
  run: async (input, terminal) => {
    if (input.positionals.length > 0) throw new UsageError('health takes no argument; --url says what to ask.');
    const url = URL.parse(input.text('url') ?? '');
    if (url?.protocol !== 'http:') throw new UsageError('--url must be an http:// address.');
    const status = await statusOf(url, parseTimeout(input.text('timeout') ?? ''));
    const healthy = status === 200;
    const facts = { url: url.href, status, healthy };
    const line = `${healthy ? 'healthy' : 'NOT HEALTHY'}: ${url.href} answered ${status}`;
    terminal.out(wantsJson(input) ? `${JSON.stringify(facts, undefined, 2)}\n` : `${line}\n`);
    return healthy ? exitCode.ok : exitCode.negative;
  },
};

/** The status of a GET; the body is not read. Throws `unavailable`, reason `NO_ANSWER`. */
const statusOf = async (url: URL, timeoutMs: number): Promise<number> => {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const request = get(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
    resolve(response.statusCode ?? 0);
    response.destroy();
  });
  request.on('error', reject);
  try {
    return await promise;
  } catch (error) {
    const why = error instanceof Error && error.name === 'AbortError' ? `within ${timeoutMs} ms` : `(${codeOf(error)})`;
    throw new CountersignError('unavailable', 'NO_ANSWER', `${url.href} gave no answer ${why}.`, { cause: error });
  }
};

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
