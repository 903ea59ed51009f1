import { formatReference } from '../registry/reference.ts';
import { clean as remove, type Cleaned, type CleanType, planCleaning, type Planned } from '../transfer/clean.ts';
import { attachmentName } from '../transfer/copy.ts';
import { gather, manifestsOf } from '../transfer/gather.ts';
import { repositorySource } from '../transfer/repository.ts';
import { type Command, type Input, type Option, type Terminal, UsageError } from './command.ts';
import { settleMs } from './copy.ts';
import { exitCode } from './exit-codes.ts';
import { describeFailure, type Failure } from './failure.ts';
import { leftOut } from './copy-report.ts';
import { jsonText, printable, table, wantsJson } from './output.ts';
import {
  attachedIn,
  attachedOptions,
  imageOf,
  registryOptions,
  signatureTarget,
  withRegistries,
} from './registry-options.ts';

const types: readonly CleanType[] = ['signature', 'attestation', 'sbom', 'referrer', 'all'];

/** Not by the environment: whatever image has the same digest shares what lies in a repository for signatures. */
const named = ({ env: _, ...option }: Option): Option =>
  option.name === 'signature-repository'
    ? { ...option, help: `${option.help}; every image of the same digest shares what lies there` }
    : option;

export const clean: Command = {
  name: 'clean',
  summary: 'remove signatures, attestations and SBOMs of an image; never the image',
  usage: ['IMAGE --type TYPE --dry-run', 'IMAGE --type TYPE --force'],
  about: [
    'Removes tags (.sig, .att, .sbom) and referrers, bundles included, and what is attached to these; a referrer leaves the index at the fallback tag as well. all: signatures, attestations and SBOMs; referrer: everything that refers to the image by digest, whatever made it. Nothing goes that something else needs. What stays is named (kept, refused, or changed by others since it was read), and the exit code is then 10.',
  ],
  options: [
    { name: 'type', type: 'text', value: 'TYPE', help: 'what is removed', choices: types },
    { name: 'dry-run', type: 'flag', help: 'say what would be removed, and remove nothing' },
    { name: 'force', short: 'f', type: 'flag', help: 'remove it; there is no way back' },
    { name: 'recursive', short: 'r', type: 'flag', help: 'those of the images below an index as well' },
    ...attachedOptions.map(named),
    ...registryOptions,
  ],
  examples: [
    'countersign clean registry.example/acme/app:v1 --type all --dry-run',
    'countersign clean registry.example/acme/app:v1 --type signature --force',
  ],
  run: async (input, terminal) => {
    const reference = imageOf(input);
    const type = types.find((one) => one === input.text('type'));
    const dryRun = input.flag('dry-run');
    if (type === undefined) throw new UsageError(`--type is missing: ${types.join(', ')}.`);
    if (dryRun === input.flag('force')) throw new UsageError('Say either --dry-run or --force.');
    return withRegistries(input, terminal, [reference, signatureTarget(input)], async (registries, context) => {
      const source = repositorySource(registries, reference);
      const { descriptor } = await registries.resolve(reference, context);
      const attached = { ...attachedIn(input, source, registries), lenient: true };
      const graph = await gather({ source, digest: descriptor.digest }, attached, context);
      for (const one of graph.ignored) terminal.err(`${printable(leftOut(one))}\n`);
      const images = input.flag('recursive') ? [...manifestsOf(graph)] : [graph.root];
      const planned = planCleaning(graph, type, images);
      const { cleaned, failure } = dryRun
        ? { cleaned: planned.map(dry) }
        : await remove(registries, planned, settleMs, context);
      const failed = failure === undefined ? undefined : describeFailure(failure, 'clean');
      report(cleaned, failed, formatReference({ ...reference, digest: graph.root }), input, terminal);
      if (failed !== undefined) return failed.exitCode;
      return cleaned.some(({ outcome }) => stays.includes(outcome)) ? exitCode.negative : exitCode.ok;
    });
  },
};

type Shown = Omit<Cleaned, 'outcome'> & { readonly outcome: Cleaned['outcome'] | 'would be removed' };

const dry = ({ attachment, kept }: Planned): Shown => ({ attachment, outcome: kept ? 'kept' : 'would be removed' });

const stays: readonly Shown['outcome'][] = ['refused', 'unlisted', 'changed', 'kept'];

/** What each outcome that leaves something means, for people. */
const explained: readonly (readonly [outcomes: readonly Shown['outcome'][], why: string])[] = [
  [
    ['refused', 'unlisted'],
    'The registry refused to delete what is marked so: deletion may be off, or the credentials may not.',
  ],
  [['changed'], 'Somebody has added to what is marked as changed since it was read: look again, and run it again.'],
  [['kept'], 'What is kept is part of an image, or something that stays needs it.'],
];

const report = (
  cleaned: readonly Shown[],
  failed: Failure | undefined,
  image: string,
  input: Input,
  terminal: Terminal,
): void => {
  const rows = cleaned.map(({ attachment, outcome }) => ({
    outcome,
    kind: attachment.kind,
    layout: attachment.by,
    digest: attachment.digest,
    subject: attachment.subject,
    repository: attachment.from.name,
    ...(attachment.by === 'tag' ? { tag: attachment.tag } : {}),
  }));
  if (wantsJson(input)) {
    const error = failed === undefined ? {} : (JSON.parse(failed.json) as object);
    terminal.out(jsonText({ image, attachments: rows, ...error }));
    return;
  }
  if (rows.length === 0) terminal.err('There is nothing of that kind.\n');
  const cells = cleaned.map(({ attachment, outcome }) => [
    outcome,
    attachment.kind,
    `${attachment.from.name}${attachment.by === 'tag' ? ':' : '@'}${attachmentName(attachment)}`,
  ]);
  terminal.out(table(cells.map((row) => row.map(printable))));
  for (const [outcomes, why] of explained) {
    if (cleaned.some(({ outcome }) => outcomes.includes(outcome))) terminal.err(`${why}\n`);
  }
  if (failed !== undefined) terminal.err(failed.text);
};
