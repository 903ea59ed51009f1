import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { predicateType } from '../predicates/predicates.ts';
import { formatReference } from '../registry/reference.ts';
import { download, type Downloaded, lineOf, signatureOf } from '../transfer/download.ts';
import { findPlatform, gather } from '../transfer/gather.ts';
import { repositorySource } from '../transfer/repository.ts';
import type { Command, Input, Option, Terminal } from './command.ts';
import { exitCode } from './exit-codes.ts';
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
  about: [about, 'Nothing is verified.'],
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
      const attached = { ...attachedIn(input, source, registries), deep: false };
      const found = await download(await gather({ source, digest }, attached, context), kind, type, context);
      if (found.length === 0) {
        const what = type === undefined ? kind : `${kind} of type ${type}`;
        throw new CountersignError('not_found', 'NOTHING_ATTACHED', `${formatReference(reference)} has no ${what}.`);
      }
      await deliver(found, input, terminal);
      return exitCode.ok;
    });
  },
});

const deliver = async (found: readonly Downloaded[], input: Input, terminal: Terminal): Promise<void> => {
  const folder = input.text('output-dir');
  if (folder === undefined) {
    for (const one of found) terminal.out(`${lineOf(one)}\n`);
    return;
  }
  await mkdir(folder, { recursive: true });
  for (const [index, one] of found.entries()) {
    // Two signatures may have one payload.
    const again = found.slice(0, index).filter(({ digest }) => digest === one.digest).length;
    const path = join(
      folder,
      `sha256-${digestHex(one.digest)}${again === 0 ? '' : `-${again}`}.${endings[one.format]}`,
    );
    await writeFile(path, one.content);
    terminal.out(`${path}\n`);
    if (one.format !== 'simple-signing') continue;
    await writeFile(`${path}.sig`, signatureOf(one));
    terminal.out(`${path}.sig\n`);
  }
};

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
export const downloadSbom = command('sbom', 'print the SBOMs that are attached to an image', 'As they are.', []);
