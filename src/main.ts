// argv -> one command. Started by countersign.js, which has judged Node's version and put the compile cache on.
import type { Command, Entry } from './cli/command.ts';

// What Node deprecates in a dependency (grpc-js: DEP0123, for every TLS server named by its IP address) is no news for users.
process.noDeprecation = true;

const serve: Command = {
  name: 'serve',
  summary: 'run the service',
  usage: ['--config FILE'],
  about: [
    'Runs in the foreground. SIGTERM or SIGINT drains: health flips to NOT_SERVING, calls in flight finish (25 s at most); a second one ends at once.',
  ],
  options: [
    {
      name: 'config',
      short: 'c',
      type: 'text',
      value: 'FILE',
      help: 'the configuration, YAML',
      default: '/etc/countersign/config.yaml',
      env: 'COUNTERSIGN_CONFIG',
    },
  ],
  run: async (input) => {
    const { serve: start } = await import('./serve.ts');
    return start(input.text('config') ?? '');
  },
};

const { clientEntries } = await import('./cli/entries.ts');
const entries: readonly Entry[] = [
  { name: serve.name, summary: serve.summary, load: async () => serve },
  {
    name: 'dev',
    summary: 'run the service in an embedded world: issuer, registry, key, policy',
    load: async () => (await import('./dev/dev-command.ts')).dev,
  },
  {
    name: 'demo',
    summary: 'tell the story of a signature with real requests, and check every step',
    load: async () => (await import('./dev/demo-command.ts')).demo,
  },
  ...clientEntries,
];

// A reader that went away (`| head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const { run } = await import('./cli/run.ts');
const { processTerminal } = await import('./cli/terminal.ts');
const code = await run(entries, process.argv.slice(2), processTerminal(process));
// Ends although a connection that never got an answer may still hold the event loop; what was written is flushed before.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
