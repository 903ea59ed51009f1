import { formatReference } from '../registry/reference.ts';
import { copy } from '../transfer/copy.ts';
import { gather } from '../transfer/gather.ts';
import { openLayout } from '../transfer/layout-source.ts';
import { repositorySink } from '../transfer/repository-sink.ts';
import { type Command, UsageError } from './command.ts';
import { settleMs } from './copy.ts';
import { onlyOf, reportCopy, showProgress } from './copy-report.ts';
import { exitCode } from './exit-codes.ts';
import { attachedOptions, imageOf, registryOptions, signatureTarget, withRegistries } from './registry-options.ts';

export const load: Command = {
  name: 'load',
  summary: 'push an image with everything attached to it out of a folder (OCI layout)',
  usage: ['IMAGE --dir FOLDER [options]'],
  about: [
    'Reads what save, cosign save, crane and oras write. Every blob is checked against its digest; links that lead out of the folder are not followed.',
  ],
  options: [
    { name: 'dir', type: 'text', value: 'FOLDER', help: 'the folder with the OCI layout' },
    {
      name: 'ref',
      type: 'text',
      value: 'NAME',
      help: 'which image of the folder, by tag or digest, where it has several',
    },
    {
      name: 'only',
      type: 'list',
      value: 'KIND',
      help: 'push only what is attached, not the image: sig, att, sbom, with commas',
    },
    {
      name: 'force',
      short: 'f',
      type: 'flag',
      help: 'overwrite the tag, or an SBOM, that is there and is another; never signatures',
    },
    ...attachedOptions,
    ...registryOptions,
  ],
  examples: ['countersign load registry.example/acme/app:v1 --dir ./app'],
  run: async (input, terminal) => {
    const reference = imageOf(input);
    const folder = input.text('dir');
    if (folder === undefined) throw new UsageError('--dir FOLDER is missing.');
    const only = onlyOf(input);
    const signatures = signatureTarget(input);
    const layout = await openLayout(folder, input.text('ref'));
    if (reference.digest !== undefined && reference.digest !== layout.image) {
      throw new UsageError(`IMAGE is ${reference.digest}, but the folder holds ${layout.image}.`);
    }
    return withRegistries(input, terminal, [reference, signatures], async (registries, context) => {
      const progress = showProgress(terminal, 'loading');
      try {
        const options = { attachedIn: [layout.source], tagPrefix: input.text('tag-prefix') ?? '' };
        const graph = await gather({ source: layout.source, digest: layout.image }, options, context);
        const image = repositorySink(registries, reference, settleMs);
        const attached = signatures === undefined ? image : repositorySink(registries, signatures, settleMs);
        const tag = reference.tag ?? (reference.digest === undefined ? 'latest' : undefined);
        const force = input.flag('force');
        const report = await copy(graph, { image, attached, tag, only, force, progress: progress.update }, context);
        progress.end();
        reportCopy(report, { from: folder, to: formatReference({ ...reference, tag }) }, input, terminal);
        return exitCode.ok;
      } finally {
        progress.end();
      }
    });
  },
};
