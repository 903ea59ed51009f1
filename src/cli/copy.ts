import { formatReference, parseReference } from '../registry/reference.ts';
import { copy as copyGraph } from '../transfer/copy.ts';
import { findPlatform } from '../transfer/find-platform.ts';
import { gather } from '../transfer/gather.ts';
import { repositorySource } from '../transfer/repository.ts';
import { repositorySink } from '../transfer/repository-sink.ts';
import { type Command, UsageError } from './command.ts';
import { onlyOf, reportCopy, showProgress } from './copy-report.ts';
import { exitCode } from './exit-codes.ts';
import {
  attachedIn,
  attachedOptions,
  platformOption,
  registryOptions,
  signatureTarget,
  withRegistries,
} from './registry-options.ts';

/** How long a write to a tag of signatures is watched where the registry looks at no conditions: milliseconds. */
export const settleMs = 1_000;

export const copy: Command = {
  name: 'copy',
  summary: 'copy an image with everything attached to it to another registry',
  usage: ['SOURCE DESTINATION [options]'],
  about: [
    'Copies an image or an index with all its images, and their signatures, attestations, SBOMs and other referrers, and what is attached to these: tags (.sig, .att, .sbom), referrers, bundles. Signatures at the destination are kept: layers and indexes are merged. What is there already is not sent again, so a copy that broke off is simply run again. The tag of the image is written last.',
  ],
  options: [
    platformOption,
    {
      name: 'only',
      type: 'list',
      value: 'KIND',
      help: 'copy only what is attached, not the image: sig, att, sbom, with commas',
    },
    {
      name: 'force',
      short: 'f',
      type: 'flag',
      help: 'overwrite the tag, or an SBOM, that is there and is another; never signatures',
    },
    ...attachedOptions,
    {
      name: 'to-signature-repository',
      type: 'text',
      value: 'REPOSITORY',
      help: 'where they go at the destination (default: beside the image)',
    },
    ...registryOptions,
  ],
  examples: [
    'countersign copy registry.example/acme/app:v1 mirror.example/acme/app:v1',
    'countersign copy --platform linux/arm64 registry.example/acme/app:v1 mirror.example/acme/app:v1-arm64',
    'countersign copy --only sig,att registry.example/acme/app:v1 mirror.example/acme/app',
  ],
  run: async (input, terminal) => {
    const [from, to, ...more] = input.positionals;
    if (from === undefined || to === undefined || more.length > 0)
      throw new UsageError('Name a SOURCE and a DESTINATION.');
    const reference = parseReference(from, 'source');
    const destination = parseReference(to, 'destination');
    const signatures = signatureTarget(input, 'to-signature-repository');
    const only = onlyOf(input);
    const platform = input.text('platform');
    const targets = [reference, destination, signatures, signatureTarget(input)];
    return withRegistries(input, terminal, targets, async (registries, context) => {
      const progress = showProgress(terminal, 'copying');
      try {
        const source = repositorySource(registries, reference);
        const { descriptor } = await registries.resolve(reference, context);
        const digest =
          platform === undefined ? descriptor.digest : await findPlatform(source, descriptor.digest, platform, context);
        const graph = await gather({ source, digest }, attachedIn(input, source, registries), context);
        const image = repositorySink(registries, destination, settleMs);
        const attached = signatures === undefined ? image : repositorySink(registries, signatures, settleMs);
        const tag = destination.tag ?? (destination.digest === undefined ? (reference.tag ?? 'latest') : undefined);
        if (destination.digest !== undefined && destination.digest !== digest) {
          throw new UsageError(`DESTINATION is ${destination.digest}, but SOURCE is ${digest}.`);
        }
        const options = { image, attached, tag, only, force: input.flag('force'), progress: progress.update };
        const report = await copyGraph(graph, options, context);
        progress.end();
        const written = formatReference({ ...destination, tag });
        reportCopy(report, { from: formatReference(reference), to: written }, input, terminal);
        return exitCode.ok;
      } finally {
        progress.end();
      }
    });
  },
};
