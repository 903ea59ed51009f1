import { access } from 'node:fs/promises';
import { type Context, openContext } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { createHttpClient } from '../net/http.ts';
import { type Input, type Terminal, UsageError } from './command.ts';
import { readText } from './files.ts';

/** Where a token lies when a Kubernetes projected volume brings it. */
const ambientTokenFile = '/var/run/secrets/countersign/token';

/** Said when a call was refused and no token had been found to send. */
export const noTokenHint =
  'To send one, set COUNTERSIGN_TOKEN_FILE or COUNTERSIGN_TOKEN, or run where GitHub Actions gives one (permissions: id-token: write).';

/**
 * The caller's token, undefined when there is none to be found. In this order: the one of `--token`, `--token-file` and
 * `--token-env` that is given, their environment variables, GitHub Actions, the file that a Kubernetes projected volume brings.
 */
export const findToken = async (input: Input, terminal: Terminal, timeoutMs: number): Promise<string | undefined> => {
  const given = input.text('token');
  if (given !== undefined) return checked(given, '--token');
  const file = input.text('token-file');
  if (file !== undefined) return checked(await readText(file), file);
  const name = input.text('token-env');
  if (name !== undefined) {
    const value = terminal.env[name];
    if (value === undefined) throw new UsageError(`--token-env: the environment variable ${name} is not set.`);
    return checked(value, name);
  }
  const github = await fromGitHubActions(terminal.env, input.text('audience') ?? 'countersign', timeoutMs);
  if (github !== undefined) return github;
  return (await exists(ambientTokenFile)) ? checked(await readText(ambientTokenFile), ambientTokenFile) : undefined;
};

/** GitHub Actions: a token of the running job, for our audience (docs: "OpenID Connect", "Methods for requesting the token"). */
const fromGitHubActions = async (
  env: Readonly<Record<string, string | undefined>>,
  audience: string,
  timeoutMs: number,
): Promise<string | undefined> => {
  const address = env['ACTIONS_ID_TOKEN_REQUEST_URL'];
  const secret = env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'];
  if (address === undefined || secret === undefined) return undefined;
  const url = URL.parse(address);
  if (url === null) throw new UsageError('ACTIONS_ID_TOKEN_REQUEST_URL is no URL.');
  url.searchParams.set('audience', audience);
  const http = createHttpClient({ plainHttpHosts: ['127.0.0.1', 'localhost'] });
  const owned = openContext('token', timeoutMs);
  try {
    return await askGitHub(http, url.href, secret, owned.context);
  } finally {
    owned.dispose();
    await http.close();
  }
};

const askGitHub = async (
  http: ReturnType<typeof createHttpClient>,
  url: string,
  secret: string,
  context: Context,
): Promise<string> => {
  const headers = { authorization: `Bearer ${secret}`, accept: 'application/json' };
  const response = await http.request({ method: 'GET', url, headers, maxBytes: 65_536 }, context);
  const value = response.status === 200 ? tokenIn(response.body) : undefined;
  if (value === undefined) {
    throw new CountersignError(
      'unavailable',
      'TOKEN_NOT_ISSUED',
      `GitHub Actions gave no token (HTTP ${response.status}); the job needs 'permissions: id-token: write'.`,
    );
  }
  return checked(value, 'the token of GitHub Actions');
};

const tokenIn = (body: Uint8Array): string | undefined => {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(body));
    if (typeof parsed !== 'object' || parsed === null || !('value' in parsed)) return undefined;
    return typeof parsed.value === 'string' ? parsed.value : undefined;
  } catch {
    return undefined;
  }
};

/** The b64token characters of RFC 6750 section 2.1; anything else would break the header, and is never shown. */
const checked = (text: string, source: string): string => {
  const token = text.trim();
  if (/^[A-Za-z0-9\-._~+/]+=*$/.test(token)) return token;
  throw new UsageError(`${source} holds no token: it is empty or has characters that a token cannot have.`);
};

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
