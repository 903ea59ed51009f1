import { constants } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { predicateType } from '../predicates/predicates.ts';
import { formatReference } from '../registry/reference.ts';
import { download, type Downloaded, lineOf, signatureOf, textOf } from '../transfer/download.ts';
import { findPlatform } from '../transfer/find-platform.ts';
import { gather } from '../transfer/gather.ts';
import { repositorySource } from '../transfer/repository.ts';
import type { Command, Input, Option, Terminal } from './command.ts';
import { exitCode } from './exit-codes.ts';
import { leftOut } from './copy-report.ts';
import { jsonText, printable, wantsJson } from './output.ts';
import {
  attachedIn,
  attachedOptions,
  imageOf,
  platformOption,
  registryOptions,
  signatureTarget,
  withRegistries,
} from './registry-options.ts';

const outputDir: Option = {
  name: 'output-dir',
  type: 'text',
  value: 'FOLDER',
  help: 'write the exact bytes of each to a file there instead, named by digest; the names are printed',
};

const typeFilter: Option = {
  name: 'predicate-type',
  type: 'text',
  value: 'TYPE',
  help: 'only attestations of this predicate: a short name of cosign (slsaprovenance1, spdxjson) or a URI',
};

const command = (
  kind: 'signature' | 'attestation' | 'sbom',
  summary: string,
  about: string,
  options: readonly Option[],
): Command => ({
  name: `download ${kind}`,
  summary,
  usage: ['IMAGE [options]'],
  about: [
    about,
    'Nothing is verified. --output json has digests, types and annotations (certificates, log entries) of all as well.',
  ],
  options: [...options, platformOption, outputDir, ...attachedOptions, ...registryOptions],
  examples: [`countersign download ${kind} registry.example/acme/app:v1`],
  run: async (input, terminal) => {
    const reference = imageOf(input);
    const platform = input.text('platform');
    const wanted = options.includes(typeFilter) ? input.text('predicate-type') : undefined;
    const type = wanted === undefined ? undefined : predicateType(wanted).uri;
    return withRegistries(input, terminal, [reference, signatureTarget(input)], async (registries, context) => {
      const source = repositorySource(registries, reference);
      const { descriptor } = await registries.resolve(reference, context);
      const digest =
        platform === undefined ? descriptor.digest : await findPlatform(source, descriptor.digest, platform, context);
      const attached = { ...attachedIn(input, source, registries), deep: false, lenient: true };
      const graph = await gather({ source, digest }, attached, context);
      for (const one of graph.ignored) terminal.err(`${printable(leftOut(one))}\n`);
      const found = await download(graph, kind, type, context);
      if (found.length === 0) {
        const what = type === undefined ? kind : `${kind} of type ${type}`;
        throw new CountersignError('not_found', 'NOTHING_ATTACHED', `${formatReference(reference)} has no ${what}.`);
      }
      return deliver(found, formatReference({ ...reference, digest }), input, terminal);
    });
  },
});

const deliver = async (
  found: readonly Downloaded[],
  image: string,
  input: Input,
  terminal: Terminal,
): Promise<number> => {
  const folder = input.text('output-dir');
  const files = folder === undefined ? undefined : await writeFiles(found, folder);
  if (wantsJson(input)) {
    const contents = found.map(({ content, ...facts }, at) => ({
      ...facts,
      ...(files === undefined ? { content: Buffer.from(content).toString('base64') } : { file: files[at]?.[0] }),
    }));
    terminal.out(jsonText({ image, contents }));
    return exitCode.ok;
  }
  if (files !== undefined) {
    for (const path of files.flat()) terminal.out(`${path}\n`);
    return exitCode.ok;
  }
  let code: number = exitCode.ok;
  for (const one of found) {
    const text = one.format === 'artifact' ? textOf(one) : lineOf(one);
    if (text !== undefined) {
      // One SBOM is given as it is; several must not run into each other.
      const whole = one.format === 'artifact' && (found.length === 1 || text.endsWith('\n'));
      terminal.out(whole ? text : `${text}\n`);
      continue;
    }
    const what = one.format === 'artifact' ? 'text' : 'JSON';
    terminal.err(`left out ${one.digest}: it is no ${what}; --output-dir writes it as it is\n`);
    code = exitCode.invalid;
  }
  return code;
};

/** Writes each to a file; answers with the names: its own first. */
const writeFiles = async (found: readonly Downloaded[], folder: string): Promise<readonly (readonly string[])[]> => {
  const written: string[][] = [];
  try {
    await mkdir(folder, { recursive: true });
    for (const [index, one] of found.entries()) {
      // Two signatures may have one payload.
      const again = found.slice(0, index).filter(({ digest }) => digest === one.digest).length;
      const name = `sha256-${digestHex(one.digest)}${again === 0 ? '' : `-${again}`}.${endings[one.format]}`;
      const path = join(folder, name);
      await writePlain(path, one.content);
      const paths = [path];
      if (one.format === 'simple-signing') {
        await writePlain(`${path}.sig`, Buffer.from(signatureOf(one)));
        paths.push(`${path}.sig`);
      }
      written.push(paths);
    }
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new CountersignError('invalid_argument', 'FILE_UNWRITABLE', `${folder} cannot be written to (${why}).`, {
      cause: error,
    });
  }
  return written;
};

/** The names can be foreseen: a link that lies there must not lead what others have made out of the folder. */
const writePlain = (path: string, content: Uint8Array): Promise<void> =>
  writeFile(path, content, {
    flag: constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (constants.O_NOFOLLOW ?? 0),
  });

const endings: Readonly<Record<Downloaded['format'], string>> = {
  'simple-signing': 'payload.json',
  dsse: 'dsse.json',
  bundle: 'sigstore.json',
  artifact: 'content',
};

export const downloadSignature = command(
  'signature',
  'print the signatures of an image, as cosign does',
  'One JSON line each: bundles as they are, simple signing as cosign prints it. With --output-dir a simple signing payload has its signature (base64) beside it.',
  [],
);
export const downloadAttestation = command(
  'attestation',
  'print the attestations of an image, as cosign does',
  'One JSON line each: a bundle or a DSSE envelope, as it is.',
  [typeFilter],
);
export const downloadSbom = command(
  'sbom',
  'print the SBOMs that are attached to an image',
  'As they are, byte for byte.',
  [],
);
