import { create } from '@bufbuild/protobuf';
import {
  GetKeyRequestSchema,
  GetKeyResponseSchema,
  type Key,
  KeyService,
  ListKeysRequestSchema,
  ListKeysResponseSchema,
} from '../gen/countersign/v1/keys_pb.ts';
import { callOnce } from './client.ts';
import { type Command, UsageError } from './command.ts';
import { connectionOptions, outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { messageJson, printable, table, wantsJson } from './output.ts';

export const keysList: Command = {
  name: 'keys list',
  summary: 'list the keys that the caller may read',
  usage: ['[options]'],
  options: [outputOption, ...connectionOptions],
  run: async (input, terminal) => {
    if (input.positionals.length > 0) throw new UsageError('keys list takes no argument; keys get NAME shows one key.');
    const request = create(ListKeysRequestSchema);
    const response = await callOnce(input, terminal, 'listing keys', KeyService.method.listKeys, request);
    terminal.out(wantsJson(input) ? messageJson(ListKeysResponseSchema, response) : listText(response.keys));
    return exitCode.ok;
  },
};

export const keysGet: Command = {
  name: 'keys get',
  summary: 'show one key: public key, algorithm, versions, protection level',
  usage: ['NAME [options]'],
  options: [
    { name: 'pem', type: 'flag', help: 'only the public key, as PEM: what cosign verify --key reads' },
    { name: 'jwk', type: 'flag', help: 'only the public key, as a JSON Web Key' },
    outputOption,
    ...connectionOptions,
  ],
  examples: ['countersign keys get release --pem > release.pub'],
  run: async (input, terminal) => {
    const [name, ...more] = input.positionals;
    if (name === undefined || more.length > 0) throw new UsageError('Name one key: countersign keys get NAME.');
    if (input.flag('pem') && input.flag('jwk')) throw new UsageError('--pem or --jwk, not both.');
    const request = create(GetKeyRequestSchema, { key: name });
    const response = await callOnce(input, terminal, `asking for ${name}`, KeyService.method.getKey, request);
    const { key } = response;
    if (input.flag('pem')) terminal.out(`${key?.signing?.pem.trimEnd() ?? ''}\n`);
    else if (input.flag('jwk')) terminal.out(`${key?.signing?.jwk ?? ''}\n`);
    else if (wantsJson(input)) terminal.out(messageJson(GetKeyResponseSchema, response));
    else if (key !== undefined) terminal.out(keyText(key));
    return exitCode.ok;
  },
};

const listText = (keys: readonly Key[]): string =>
  table([
    ['NAME', 'ALGORITHM', 'BACKEND', 'PROTECTION', 'VERSION', 'STATE'],
    ...keys.map((key) => [
      key.name,
      key.signing?.algorithm ?? '-',
      key.backend,
      key.protectionLevel,
      key.signing?.version ?? '-',
      printable(key.problem === '' ? 'ready' : key.problem),
    ]),
  ]);

const keyText = (key: Key): string => {
  const head = table([
    ['name', key.name],
    ['backend', key.backend],
    ['protection', key.protectionLevel],
    ...Object.entries(key.evidence).map(([field, value]) => ['  evidence', printable(`${field}: ${value}`)]),
    ['origin', key.origin],
    ['checked', key.checkedAt],
    ...key.members.map((member) => [
      'member',
      printable([member.name, member.hint, member.problem].join('  ').trimEnd()),
    ]),
    ...(key.problem === '' ? [] : [['problem', printable(key.problem)]]),
  ]);
  const versions = table([
    ['VERSION', 'ALGORITHM', 'STATE', 'MADE', 'UNTIL', 'HINT'],
    ...key.versions.map((version) => [
      version.version,
      version.algorithm || '-',
      version.state,
      version.createdAt || '-',
      version.validUntil || '-',
      version.hint || '-',
    ]),
  ]);
  return `${head}\n${versions}\n${key.signing?.pem.trimEnd() ?? ''}\n`;
};
