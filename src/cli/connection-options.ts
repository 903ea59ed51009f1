import type { Option } from './command.ts';

const group = 'Connection';

/** How a service is reached when nothing is said: what `countersign dev` listens on. */
const defaultServer = 'grpc://127.0.0.1:8080';

export const outputOption: Option = {
  name: 'output',
  type: 'text',
  value: 'FORM',
  help: 'how results and errors are written',
  choices: ['text', 'json'],
  default: 'text',
  env: 'COUNTERSIGN_OUTPUT',
};

/** The options of every command that speaks to a service. */
export const connectionOptions: readonly Option[] = [
  {
    name: 'server',
    type: 'text',
    value: 'ADDRESS',
    help: 'where the service is: grpcs://HOST:PORT (TLS), grpc://HOST:PORT (plain text), or HOST:PORT (TLS)',
    default: defaultServer,
    env: 'COUNTERSIGN_SERVER',
    group,
  },
  {
    name: 'token-file',
    type: 'text',
    value: 'FILE',
    help: 'file with the OIDC token; read for every call, so a rotated token is picked up',
    env: 'COUNTERSIGN_TOKEN_FILE',
    rivals: 'token',
    group,
  },
  {
    name: 'token-env',
    type: 'text',
    value: 'NAME',
    help: 'environment variable with the OIDC token (GitLab id_tokens)',
    rivals: 'token',
    group,
  },
  {
    name: 'token',
    type: 'text',
    value: 'TOKEN',
    help: 'the OIDC token itself; prefer the environment, since arguments are visible to others',
    env: 'COUNTERSIGN_TOKEN',
    rivals: 'token',
    group,
  },
  {
    name: 'audience',
    type: 'text',
    value: 'AUDIENCE',
    help: 'audience of the token asked from GitHub Actions, where no other token is given',
    default: 'countersign',
    env: 'COUNTERSIGN_AUDIENCE',
    group,
  },
  {
    name: 'ca-file',
    type: 'text',
    value: 'FILE',
    help: "PEM certificates that the server's may chain to, instead of the system's",
    env: 'COUNTERSIGN_CA_FILE',
    group,
  },
  {
    name: 'client-cert',
    type: 'text',
    value: 'FILE',
    help: 'PEM client certificate for mutual TLS, with --client-key',
    env: 'COUNTERSIGN_CLIENT_CERT',
    group,
  },
  {
    name: 'client-key',
    type: 'text',
    value: 'FILE',
    help: 'PEM private key of the client certificate',
    env: 'COUNTERSIGN_CLIENT_KEY',
    group,
  },
  {
    name: 'plaintext',
    type: 'flag',
    help: 'no TLS; a token is sent unencrypted to another machine only with this flag',
    env: 'COUNTERSIGN_PLAINTEXT',
    group,
  },
  {
    name: 'timeout',
    type: 'text',
    value: 'TIME',
    help: 'deadline of the whole call: 30s, 500ms, 2m (default 30s, with --batch 5m)',
    env: 'COUNTERSIGN_TIMEOUT',
    group,
  },
];
