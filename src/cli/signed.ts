import { writeFile } from 'node:fs/promises';
import type { AttestResponse, NestedSigned, SignResponse } from '../gen/countersign/v1/signing_pb.ts';
import { Format, type Output, StoredAt_Layout } from '../gen/countersign/v1/types_pb.ts';
import { CountersignError } from '../model/error.ts';
import { type Option, type Terminal, UsageError } from './command.ts';
import { printable, table } from './output.ts';
import { formatName } from './request.ts';

export const bundleOption: Option = {
  name: 'bundle',
  type: 'text',
  value: 'FILE',
  help: 'write the signature to this file as well (the bundle, when there are several formats)',
};

/** `--bundle` needs one result to write: checked before anything is signed. */
export const checkBundleOption = (path: string | undefined, formats: readonly Format[]): void => {
  if (path === undefined || formats.length <= 1 || formats.includes(Format.BUNDLE)) return;
  throw new UsageError('--bundle cannot hold several formats; ask for one, or for bundle among them.');
};

export type WriteTo = {
  /** `--bundle` */
  readonly path: string | undefined;
  /** The whole response as JSON, when that is wanted. */
  readonly json: string | undefined;
};

/**
 * Writes what Sign or Attest answered. The text goes to stdout; when the signature was neither stored nor written to
 * a file, stdout gets its exact bytes alone, so that they can be redirected, and the text goes to stderr.
 */
export const writeSigned = async (
  response: SignResponse | AttestResponse,
  to: WriteTo,
  terminal: Terminal,
): Promise<void> => {
  const chosen = response.outputs.find((output) => output.format === Format.BUNDLE) ?? response.outputs[0];
  if (to.path !== undefined && chosen !== undefined) await writeOutput(to.path, chosen.content);
  if (to.json !== undefined) return terminal.out(to.json);
  const text = signedText(response, to.path);
  if (to.path !== undefined || response.outputs.some((output) => output.stored !== undefined)) {
    return terminal.out(text);
  }
  terminal.err(text);
  for (const output of response.outputs) terminal.out(`${new TextDecoder().decode(output.content).trimEnd()}\n`);
};

const writeOutput = async (path: string, content: Uint8Array): Promise<void> => {
  try {
    await writeFile(path, content);
  } catch (caught) {
    throw new CountersignError('invalid_argument', 'FILE_UNWRITABLE', `${path} cannot be written.`, { cause: caught });
  }
};

const signedText = (response: SignResponse | AttestResponse, path: string | undefined): string => {
  const { key, decision } = response;
  const type = 'predicateType' in response ? [['type', response.predicateType]] : [];
  return table([
    ['signed', printable(`${response.name}@${response.digest}`)],
    ...type,
    ...response.outputs.map((output) => [formatName(output.format), whereText(output)]),
    ...response.nested.map(nestedRow),
    ...(path === undefined ? [] : [['written', path]]),
    ['key', `${key?.key ?? ''}, version ${key?.version ?? ''} (${key?.algorithm ?? ''})`],
    ['rule', `${decision?.rule ?? ''} (policy ${decision?.policyHash ?? ''})`],
    ['audit', response.auditId],
    ['request', response.requestId],
    ...response.notices.map((notice) => ['notice', printable(notice)]),
  ]);
};

const nestedRow = ({ digest, platform, outputs }: NestedSigned): string[] => {
  const there = outputs.every(({ existing }) => existing) ? ' (was there already)' : '';
  return ['below', printable(`${digest} ${platform}${there}`)];
};

const layouts: Readonly<Record<StoredAt_Layout, string>> = {
  [StoredAt_Layout.UNSPECIFIED]: 'stored',
  [StoredAt_Layout.TAG]: 'tag',
  [StoredAt_Layout.REFERRER]: 'referrer',
  [StoredAt_Layout.FALLBACK_TAG]: 'fallback tag',
};

/** How an output can be found in its registry: `referrer`, `tag`, `fallback tag`; undefined when it was not stored. */
export const layoutName = (output: Output | undefined): string | undefined =>
  output?.stored === undefined ? undefined : layouts[output.stored.layout];

const whereText = (output: Output): string => {
  const { stored } = output;
  if (stored === undefined) return 'returned, not stored';
  const tag = stored.tag === '' ? '' : `:${stored.tag}`;
  const there = output.existing ? ', was there already' : '';
  return printable(`${stored.repository}${tag}@${stored.digest} (${layouts[stored.layout]}${there})`);
};
