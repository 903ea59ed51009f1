import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { test } from 'node:test';

const mainPath = join(import.meta.dirname, '..', '..', 'src', 'countersign.js');

type Running = {
  readonly child: ChildProcess;
  out(): string;
  err(): string;
  /** Resolves when a line of stdout matches, past or future. */
  line(pattern: RegExp): Promise<string>;
  readonly ended: Promise<number | NodeJS.Signals>;
};

const start = (...args: readonly string[]): Running => {
  const child = spawn(process.execPath, [mainPath, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const lines: string[] = [];
  const waiting = new Set<(line: string) => void>();
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    for (const tell of waiting) tell(line);
  });
  return {
    child,
    out: () => lines.join('\n'),
    err: () => err,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const found = lines.find((line) => pattern.test(line));
        if (found !== undefined) return resolve(found);
        waiting.add((line) => pattern.test(line) && resolve(line));
        void ended.then((how) => reject(new Error(`it ended (${how}) without a line like ${pattern}\n${err}`)));
      }),
    ended,
  };
};

test('the demo tells the whole story, checks every step and leaves nothing running', async () => {
  const begun = performance.now();
  const demo = start('demo');
  assert.equal(await demo.ended, 0, demo.err());
  assert.ok(performance.now() - begun < 15_000);
  assert.equal(demo.err(), '');
  const out = demo.out();
  const oneLine = out.replaceAll(/\s+/g, ' ');
  assert.match(
    oneLine,
    /nearest is "release-images", which misses claims\.ref: wanted refs\/tags\/v\*, had refs\/heads\/main/,
  );
  const told = [
    /refused: unauthenticated/,
    /refused: permission denied \(POLICY_DENIED\)/,
    /over gRPC/,
    /over REST/,
    /its predicate type is https:\/\/slsa\.dev\/provenance\/v1/,
    /who +repo:acme\/app:ref:refs\/tags\/v1\.0\.0/,
    /no: nothing was found/,
    /for the right reasons: DIGEST_MISMATCH, TAMPERED, WRONG_KEY/,
    /no: WRONG_KEY/,
    /├─ :sha256-[0-9a-f]{12}\.\.\.\.att/,
    /referrer {2}sha256:[0-9a-f]{12} {2}Sigstore bundle {2}https:\/\/slsa\.dev\/provenance\/v1/,
    /denied +sign +- +release +- +POLICY_DENIED/,
    /completed +attest +release-images/,
    /^cosign verify --key \/.+\/release\.pub --insecure-ignore-tlog=true 127\.0\.0\.1:\d+\/acme\/app:v1$/m,
    /^cosign verify-attestation .*--type slsaprovenance1 /m,
    /All \d+ claims hold\./,
  ];
  for (const pattern of told) assert.match(out, pattern);
  assert.ok(!out.includes('\u001b'), 'no colours where nobody watches');
});

test('the demo with --keep serves what it prints until SIGINT', async (t) => {
  const demo = start('demo', '--keep');
  t.after(() => demo.child.kill('SIGKILL'));
  const token = (await demo.line(/^export TOKEN=/)).replace('export TOKEN=', '');
  const line = await demo.line(/^curl .*\/v1\/verify$/);
  await demo.line(/^curl .*\/metrics$/);
  const [, body = '', url = ''] = /-d '(.+)' (http:\S+)$/.exec(line) ?? [];
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body,
  });
  const verdict = (await response.json()) as { readonly verified: boolean };
  assert.equal(verdict.verified, true);
  assert.ok(demo.child.kill('SIGINT'));
  assert.equal(await demo.ended, 0, demo.err());
});

test('countersign dev serves a client until SIGTERM', async (t) => {
  const dev = start('dev', '--free-ports', '--log', 'silent');
  t.after(() => dev.child.kill('SIGKILL'));
  const exported = await dev.line(/^export COUNTERSIGN_SERVER=/);
  const [, server = '', tokenFile = ''] = /SERVER=(\S+) COUNTERSIGN_TOKEN_FILE=(\S+)/.exec(exported) ?? [];
  const command = await dev.line(/countersign -- sign /);
  await dev.line(/Ctrl-C/);
  const args = command.slice(command.indexOf(' -- ') + 4).split(' ');
  const sign = start(...args, '--server', server, '--token-file', tokenFile);
  assert.equal(await sign.ended, 0, sign.err());
  assert.match(sign.out(), /^signed +127\.0\.0\.1:\d+\/acme\/app@sha256:/);
  const strangers = start(...args, '--server', server, '--output', 'json');
  assert.equal(await strangers.ended, 3);
  assert.equal(JSON.parse(strangers.out()).error.code, 'unauthenticated');
  assert.ok(dev.child.kill('SIGTERM'));
  assert.equal(await dev.ended, 0, dev.err());
});
