// Credential helpers as programs: what they are asked, what they get to see, and whatever they may do instead of answering.
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { CountersignError } from '../../src/model/error.ts';
import { eventually, inspected, type Loaded, load } from './credential-world.ts';
import { isError, within } from './world.ts';

const secret = 'hunter2-of-the-helper';
const answer = (username: string, password = secret): string =>
  `echo '${JSON.stringify({ ServerURL: 'x', Username: username, Secret: password })}'`;
const basic = { kind: 'basic', username: 'robot', password: secret };

type HelperWorld = Loaded & {
  /** How often docker-credential-test ran. */
  runs(): Promise<number>;
  /** What it got on its stdin and as arguments, the last time. */
  asked(): Promise<string>;
  /** Replaces what it does. */
  write(body: string): Promise<void>;
  readonly folder: string;
};

/** docker-credential-test does `body` in a shell, after it has written down what it was asked. */
const helperWorld = async (
  t: TestContext,
  body: string,
  section: object | ((folder: string) => Promise<object>) = { credentials: { 'a.example': { helper: 'test' } } },
  environment: Record<string, string> = {},
): Promise<HelperWorld> => {
  const folder = await mkdtemp(join(tmpdir(), 'helper-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const program = join(folder, 'docker-credential-test');
  const write = async (next: string): Promise<void> => {
    const prologue = `echo run >> '${folder}/runs'; printf '%s ' "$@" > '${folder}/asked'; cat >> '${folder}/asked'`;
    await writeFile(program, `#!/bin/sh\n${prologue}\n${next}\n`);
    await chmod(program, 0o755);
  };
  await write(body);
  const loaded = await load(typeof section === 'function' ? await section(folder) : section, {
    environment: { PATH: ['relative', folder, process.env['PATH'] ?? ''].join(delimiter), ...environment },
  });
  return {
    ...loaded,
    folder,
    write,
    asked: () => readFile(join(folder, 'asked'), 'utf8'),
    runs: async () => (await readFile(join(folder, 'runs'), 'utf8').catch(() => '')).split('\n').length - 1,
  };
};

test('a helper is asked as docker asks it, and its answer is kept', async (t) => {
  const { at, asked, runs, names } = await helperWorld(t, answer('robot'));
  assert.equal(names('a.example'), true);
  assert.equal(await runs(), 0, 'nothing is run before a registry asks');
  assert.deepEqual(await Promise.all([at('a.example'), at('a.example'), at('a.example')]), [basic, basic, basic]);
  assert.deepEqual(await at('a.example'), basic);
  assert.equal(await runs(), 1);
  assert.equal(await asked(), 'get a.example');
  assert.equal(await at('b.example'), undefined);
  assert.equal(await runs(), 1, 'no other host is told to it');
});

test('the user name <token> means an identity token', async (t) => {
  const { at } = await helperWorld(t, answer('<token>'));
  assert.deepEqual(await at('a.example'), { kind: 'identity-token', token: secret });
});

test('credHelpers go before credsStore, and both before auths, which count where a helper has nothing', async (t) => {
  const none = `echo 'credentials not found in native keychain'; exit 1`;
  const config = {
    auths: {
      'own.example': { auth: Buffer.from('own:secret').toString('base64') },
      'https://index.docker.io/v1/': {},
      'kept.example': {},
    },
    credHelpers: { 'helped.example': 'other' },
    credsStore: 'test',
  };
  const { at, asked, names, folder, runs } = await helperWorld(
    t,
    `case "$(cat "${'$'}{0%/*}/asked")" in *own.example|*nobody.example) ${none};; esac\n${answer('robot')}`,
    async (folder) => {
      await writeFile(join(folder, 'config.json'), JSON.stringify(config));
      await writeFile(join(folder, 'docker-credential-other'), `#!/bin/sh\n${answer('other')}\n`);
      await chmod(join(folder, 'docker-credential-other'), 0o755);
      return { dockerConfig: join(folder, 'config.json') };
    },
  );
  assert.deepEqual(await at('helped.example'), { ...basic, username: 'other' });
  assert.equal(await runs(), 0);
  assert.deepEqual(await at('docker.io'), basic);
  assert.equal(await asked(), 'get https://index.docker.io/v1/');
  assert.deepEqual(await at('own.example'), { kind: 'basic', username: 'own', password: 'secret' });
  assert.equal(await at('nobody.example'), undefined);
  const before = await runs();
  assert.equal(await at('nobody.example'), undefined);
  assert.equal(await runs(), before, 'that there is none is kept as well');
  const named = ['own.example', 'index.docker.io', 'kept.example', 'helped.example'];
  assert.deepEqual(named.filter(names), named);
  assert.equal(names('nobody.example'), false, 'what a store may have names nothing');

  // Which helper is asked follows the file.
  await writeFile(join(folder, 'config.json'), JSON.stringify({ credHelpers: { 'kept.example': 'other' } }));
  await eventually(async () => assert.deepEqual(await at('kept.example'), { ...basic, username: 'other' }));
  assert.equal(await at('docker.io'), undefined);
});

test('refused credentials are asked for anew, and not in a storm', async (t) => {
  const { at, credentials, write, runs } = await helperWorld(t, answer('robot', 'old'));
  const old = await at('a.example');
  await write(answer('robot', 'new'));
  const asking = () => credentials('a.example', within(30_000), old);
  // It ran a moment ago: so soon it is not asked again.
  assert.deepEqual(await asking(), old);
  assert.equal(await runs(), 1);
  await eventually(async () => assert.deepEqual(await asking(), { ...basic, password: 'new' }));
  assert.deepEqual(await at('a.example'), { ...basic, password: 'new' });
  assert.equal(await runs(), 2);
});

test('a helper sees nothing of what the service holds but what is listed', async (t) => {
  const environment = {
    HOME: '/home/of-a-test',
    COSIGN_PASSWORD: 'of-the-key',
    VAULT_TOKEN: 'of-vault',
    AWS_REGION: 'eu-central-1',
    AWS_SECRET_ACCESS_KEY: 'of-aws',
    GITHUB_TOKEN: 'of-github',
    LD_PRELOAD: '/evil.so',
    NODE_OPTIONS: '--require /evil.js',
  };
  const section = { credentials: { 'a.example': { helper: 'test' } }, helperEnvironment: ['AWS_*', 'NOT_SET'] };
  const world = await helperWorld(t, `env > "${'$'}{0%/*}/env"\n${answer('robot')}`, section, environment);
  await world.at('a.example');
  const seen = await readFile(join(world.folder, 'env'), 'utf8');
  assert.match(seen, /^HOME=\/home\/of-a-test$/m);
  assert.match(seen, /^AWS_REGION=eu-central-1$/m);
  assert.match(seen, /^AWS_SECRET_ACCESS_KEY=of-aws$/m);
  assert.doesNotMatch(seen, /of-the-key|of-vault|of-github|evil/);
});

test('whatever a helper does instead of answering is a typed error without a word of it', async (t) => {
  const bodies: [body: string, code: string, says: RegExp][] = [
    [`echo 'password ${secret}'; echo '${secret}' >&2; exit 3`, 'failed_precondition', /ended with exit status 3/],
    [`echo '${secret}'`, 'failed_precondition', /no credential/],
    [`echo '{"Username":"robot"}'`, 'failed_precondition', /no credential/],
    [answer(''), 'failed_precondition', /no credential/],
    [answer('a:b'), 'failed_precondition', /no credential/],
    [`echo '{"Username":"robot","Secret":["${secret}"]}'`, 'failed_precondition', /no credential/],
    [`kill -9 $$`, 'failed_precondition', /ended with SIGKILL/],
    [`while :; do echo '${secret}'; done`, 'failed_precondition', /printed more than 65536 bytes/],
    ['exec 0<&- ; exit 2', 'failed_precondition', /exit status 2/],
  ];
  for (const [body, code, says] of bodies) {
    const { at } = await helperWorld(t, body);
    await assert.rejects(at('a.example'), (error: CountersignError) => {
      assert.match(error.message, says, body);
      assert.doesNotMatch(inspected(error), /hunter2/, body);
      assert.equal(error.metadata['registry'], 'a.example');
      return isError(code, 'CREDENTIAL_HELPER_FAILED')(error);
    });
  }
});

test('a refusal is kept for a moment: a failing helper is not run for every request', async (t) => {
  const { at, runs } = await helperWorld(t, 'exit 1');
  for (let round = 0; round < 5; round++) {
    await assert.rejects(at('a.example'), isError('failed_precondition', 'CREDENTIAL_HELPER_FAILED'));
  }
  assert.ok((await runs()) < 5, `${await runs()} runs`);
});

test('a helper that hangs is ended with what it started, and may be tried again', async (t) => {
  const { at, folder } = await helperWorld(t, `sleep 300 & echo $! > "${'$'}{0%/*}/child"\nwait`);
  await assert.rejects(at('a.example'), (error: CountersignError) => {
    assert.ok((error.retryAfterMs ?? 0) > 0);
    return isError('unavailable', 'CREDENTIAL_HELPER_FAILED')(error);
  });
  const child = Number(await readFile(join(folder, 'child'), 'utf8'));
  await eventually(() => assert.throws(() => process.kill(child, 0), /ESRCH/));
});

test('who asks leaves at the deadline, whatever the helper does', async (t) => {
  const { credentials } = await helperWorld(t, 'sleep 3');
  await assert.rejects(
    async () => credentials('a.example', within(300)),
    isError('deadline_exceeded', 'DEADLINE_EXCEEDED'),
  );
});

test('a program is looked for in absolute folders of the PATH alone, and no shell is between', async (t) => {
  const missing = await load(
    { credentials: { 'a.example': { helper: 'missing' } } },
    { environment: { PATH: '/bin' } },
  );
  await assert.rejects(missing.at('a.example'), /docker-credential-missing is not in the PATH/);

  const folder = await mkdtemp(join(tmpdir(), 'helper-cwd-'));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'bin'));
  await writeFile(join(folder, 'bin', 'docker-credential-near'), `#!/bin/sh\n${answer('robot')}\n`, { mode: 0o755 });
  const before = process.cwd();
  process.chdir(folder);
  t.after(() => process.chdir(before));
  for (const PATH of ['bin', '.', '']) {
    const near = await load({ credentials: { 'a.example': { helper: 'near' } } }, { environment: { PATH } });
    await assert.rejects(near.at('a.example'), /not in the PATH/, PATH);
  }
});

test('many hosts do not become many processes at once', async (t) => {
  const counting =
    'd="${0%/*}"; mkdir "$d/running.$$"; n=$(ls -d "$d"/running.* | wc -l); echo "$n" >> "$d/most"; sleep 0.1; rmdir "$d/running.$$"';
  const world = await helperWorld(t, `${counting}\n${answer('robot')}`, async (folder) => {
    await writeFile(join(folder, 'config.json'), JSON.stringify({ credsStore: 'test' }));
    return { dockerConfig: join(folder, 'config.json') };
  });
  await Promise.all(Array.from({ length: 20 }, (_, index) => world.at(`h${index}.example`)));
  const most = (await readFile(join(world.folder, 'most'), 'utf8')).trim().split('\n').map(Number);
  assert.equal(most.length, 20);
  assert.ok(Math.max(...most) <= 4, `${Math.max(...most)} at once`);
});
