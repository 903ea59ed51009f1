import { formatReference } from '../registry/reference.ts';
import { copy } from '../transfer/copy.ts';
import { findPlatform } from '../transfer/find-platform.ts';
import { gather } from '../transfer/gather.ts';
import { openLayoutSink } from '../transfer/layout-sink.ts';
import { repositorySource } from '../transfer/repository.ts';
import { type Command, UsageError } from './command.ts';
import { reportCopy, showProgress } from './copy-report.ts';
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

export const save: Command = {
  name: 'save',
  summary: 'write an image with everything attached to it to a folder (OCI layout)',
  usage: ['IMAGE --dir FOLDER [options]'],
  about: [
    'Writes an OCI layout that load and cosign load read, and that other OCI tools read as well. A save that broke off is run again: blobs that are there stay.',
  ],
  options: [
    { name: 'dir', type: 'text', value: 'FOLDER', help: 'the folder; it is made where it is not there' },
    platformOption,
    {
      name: 'force',
      short: 'f',
      type: 'flag',
      help: 'replace the list of a folder that holds another image; of two SBOMs take one',
    },
    ...attachedOptions,
    ...registryOptions,
  ],
  examples: [
    'countersign save registry.example/acme/app:v1 --dir ./app',
    'cosign load --dir ./app mirror.example/acme/app:v1',
  ],
  run: async (input, terminal) => {
    const reference = imageOf(input);
    const folder = input.text('dir');
    if (folder === undefined) throw new UsageError('--dir FOLDER is missing.');
    const platform = input.text('platform');
    return withRegistries(input, terminal, [reference, signatureTarget(input)], async (registries, context) => {
      const progress = showProgress(terminal, 'saving');
      try {
        const source = repositorySource(registries, reference);
        const { descriptor } = await registries.resolve(reference, context);
        const digest =
          platform === undefined ? descriptor.digest : await findPlatform(source, descriptor.digest, platform, context);
        const graph = await gather({ source, digest }, attachedIn(input, source, registries), context);
        const force = input.flag('force');
        const sink = await openLayoutSink(folder, digest, force);
        const tag = reference.tag ?? (reference.digest === undefined ? 'latest' : '');
        const options = { image: sink, attached: sink, tag, force, progress: progress.update };
        const report = await copy(graph, options, context);
        await sink.finish();
        progress.end();
        reportCopy(report, { from: formatReference(reference), to: folder }, input, terminal);
        return exitCode.ok;
      } finally {
        progress.end();
      }
    });
  },
};
