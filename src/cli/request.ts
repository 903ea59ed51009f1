import { create } from '@bufbuild/protobuf';
import { Format, type Storage, StorageSchema, Storage_Mode } from '../gen/countersign/v1/types_pb.ts';
import { type Input, type Option, UsageError } from './command.ts';

export const keyOption: Option = { name: 'key', type: 'text', value: 'NAME', help: 'the configured name of the key' };

export const typeOption: Option = {
  name: 'type',
  type: 'text',
  value: 'TYPE',
  help: 'predicate type: a URI or a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, openvex',
};

export const annotationOption: Option = {
  name: 'annotation',
  short: 'a',
  type: 'list',
  value: 'NAME=VALUE',
  help: 'an annotation in the signed content',
};

export const repositoryOption: Option = {
  name: 'repository',
  type: 'text',
  value: 'REPOSITORY',
  help: "host/path where signatures lie, instead of the image's own repository",
  env: 'COUNTERSIGN_REPOSITORY',
};

const formats: Readonly<Record<string, Format>> = {
  bundle: Format.BUNDLE,
  'simple-signing': Format.SIMPLE_SIGNING,
  dsse: Format.DSSE,
};

/** `--format`, for a command that can make these. */
export const formatOption = (...names: readonly string[]): Option => ({
  name: 'format',
  type: 'list',
  value: 'FORMAT',
  help: `how the signature is written down: ${names.join(', ')}; several also with commas (default: as the service is configured)`,
});

/** For `sign`: an equal signature that is there is the answer, unless this is given. */
export const againOption: Option = {
  name: 'again',
  type: 'flag',
  help: 'sign although an equal signature is there already',
};

/** For `attest`: the other way round. */
export const ifAbsentOption: Option = {
  name: 'if-absent',
  type: 'flag',
  help: 'answer with an equal attestation that is there already, instead of making another',
};

export const recursiveOptions: readonly Option[] = [
  { name: 'recursive', short: 'r', type: 'flag', help: 'every manifest of an index as well' },
  {
    name: 'platform',
    type: 'list',
    value: 'OS/ARCH',
    help: 'with --recursive: only these platforms, for example linux/arm64; several also with commas',
  },
];

/** `--recursive`, `--platform` -> the fields of a request. Throws UsageError. */
export const recursiveOf = (input: Input): { readonly recursive: boolean; readonly platforms: string[] } => {
  const recursive = input.flag('recursive');
  const platforms = input.list('platform').flatMap((text) => text.split(','));
  if (!recursive && platforms.length > 0) throw new UsageError('--platform needs --recursive.');
  return { recursive, platforms };
};

/** What a format is called on the command line. */
export const formatName = (format: Format): string =>
  Object.entries(formats).find(([, value]) => value === format)?.[0] ?? 'unknown';

/** Every `--format`, also several with commas. Throws UsageError. */
export const formatsOf = (input: Input): Format[] =>
  input
    .list('format')
    .flatMap((text) => text.split(','))
    .map(formatNamed);

/** The format of a name on the command line. Throws UsageError. */
export const formatNamed = (name: string): Format => {
  const format = Object.hasOwn(formats, name) ? formats[name] : undefined;
  if (format === undefined) {
    throw new UsageError(`--format '${name}' is not one of ${Object.keys(formats).join(', ')}.`);
  }
  return format;
};

/** Every `-a NAME=VALUE`; a name that comes twice is refused. */
export const annotationsOf = (input: Input): Record<string, string> => {
  const annotations: Record<string, string> = Object.create(null);
  for (const text of input.list('annotation')) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined) throw new UsageError(`--annotation '${text}' must be NAME=VALUE.`);
    if (name in annotations) throw new UsageError(`--annotation ${name} is given twice.`);
    annotations[name] = value;
  }
  return annotations;
};

/** An option that must be there. */
export const required = (input: Input, name: string): string => {
  const value = input.text(name);
  if (value === undefined || value === '') throw new UsageError(`--${name} is missing.`);
  return value;
};

/** `--no-store` and `--repository` -> Storage, undefined for the default. */
export const storageOf = (input: Input): Storage | undefined => {
  const repository = input.text('repository');
  const returned = input.flag('no-store');
  if (returned) return create(StorageSchema, { mode: Storage_Mode.RETURN_ONLY });
  if (repository === undefined) return undefined;
  return create(StorageSchema, { mode: Storage_Mode.ATTACH, repository });
};

export const storageOptions: readonly Option[] = [
  { name: 'no-store', type: 'flag', help: 'push nothing; the signature only comes back' },
  repositoryOption,
];
