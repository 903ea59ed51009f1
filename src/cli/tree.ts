import { formatReference } from '../registry/reference.ts';
import { findPlatform } from '../transfer/find-platform.ts';
import { gather, type Ignored } from '../transfer/gather.ts';
import { repositorySource } from '../transfer/repository.ts';
import { type TreeAttachment, type TreeNode, treeOf } from '../transfer/tree.ts';
import type { Command } from './command.ts';
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
  sizeText,
  withRegistries,
} from './registry-options.ts';

export const tree: Command = {
  name: 'tree',
  summary: 'show an image with everything attached to it',
  usage: ['IMAGE [options]'],
  about: [
    'Shows images below an index, signatures, attestations, SBOMs and other referrers, and what is attached to these. Nothing is verified: types are what manifests claim.',
  ],
  options: [platformOption, ...attachedOptions, ...registryOptions],
  examples: [
    'countersign tree registry.example/acme/app:v1',
    'countersign tree registry.example/acme/app:v1 --output json',
  ],
  run: async (input, terminal) => {
    const reference = imageOf(input);
    const platform = input.text('platform');
    const done = terminal.progress('looking');
    try {
      return await withRegistries(input, terminal, [reference, signatureTarget(input)], async (registries, context) => {
        const source = repositorySource(registries, reference);
        const { descriptor } = await registries.resolve(reference, context);
        const digest =
          platform === undefined ? descriptor.digest : await findPlatform(source, descriptor.digest, platform, context);
        const attached = { ...attachedIn(input, source, registries), lenient: true };
        const graph = await gather({ source, digest }, attached, context);
        const image = formatReference(reference);
        const root = treeOf(graph);
        done();
        terminal.out(
          wantsJson(input)
            ? jsonText({ image, ...root, ignored: graph.ignored })
            : treeText(image, root, graph.ignored),
        );
        return exitCode.ok;
      });
    } finally {
      done();
    }
  },
};

type Line = { readonly text: string; readonly below: readonly Line[] };

const treeText = (image: string, root: TreeNode, ignored: readonly Ignored[]): string => {
  const lines = [`${image}  ${root.digest}`, ...drawn(linesOf(root), '')];
  lines.push(...ignored.map(leftOut));
  return `${lines.map(printable).join('\n')}\n`;
};

const linesOf = ({ attached, manifests }: TreeNode): readonly Line[] => [
  ...attached.map(attachmentLine),
  ...manifests.map((node) => ({ text: `image ${node.digest}  ${sizeText(node.size)}`, below: linesOf(node) })),
];

const attachmentLine = (one: TreeAttachment): Line => {
  const { kind, format, layout, repository, tag, manifest, artifactType, predicateType } = one;
  const where = tag === undefined ? `${repository}@${manifest.digest}` : `${repository}:${tag}`;
  const type = predicateType ?? (format === 'artifact' ? artifactType : undefined);
  const contents = one.contents.map(({ digest, size, mediaType, predicateType: of }) => ({
    text: [digest, sizeText(size), of ?? (format === 'artifact' ? mediaType : undefined)].filter(Boolean).join('  '),
    below: [],
  }));
  const text = [`${kind} (${format}, ${layout})`, type, where].filter(Boolean).join('  ');
  return { text, below: [...contents, ...linesOf(manifest)] };
};

const drawn = (lines: readonly Line[], indent: string): readonly string[] =>
  lines.flatMap(({ text, below }, index) => {
    const last = index === lines.length - 1;
    return [`${indent}${last ? '└── ' : '├── '}${text}`, ...drawn(below, `${indent}${last ? '    ' : '│   '}`)];
  });
