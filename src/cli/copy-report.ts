import type { CopyReport, Progress } from '../transfer/copy.ts';
import type { Ignored } from '../transfer/gather.ts';
import type { Kind } from '../transfer/kinds.ts';
import { type Input, type Terminal, UsageError } from './command.ts';
import { jsonText, printable, table, wantsJson } from './output.ts';
import { sizeText } from './registry-options.ts';

const kinds: Readonly<Record<string, Kind>> = {
  sig: 'signature',
  sign: 'signature',
  signature: 'signature',
  att: 'attestation',
  attestation: 'attestation',
  sbom: 'sbom',
};

/** `--only sig,att,sbom` -> the kinds; undefined without it. Throws UsageError. */
export const onlyOf = (input: Input): readonly Kind[] | undefined => {
  const words = input.list('only').flatMap((text) => text.split(','));
  if (words.length === 0) return undefined;
  return words.map((word) => {
    const kind = kinds[word.trim()];
    if (kind === undefined) throw new UsageError(`--only takes sig, att and sbom, not '${word}'.`);
    return kind;
  });
};

/** Shows what is moving, on a terminal where a person watches. */
export const showProgress = (
  terminal: Terminal,
  doing: string,
): { readonly update: (done: Progress) => void; end(): void } => {
  let remove = terminal.progress(doing);
  let shownAt = performance.now();
  return {
    update: ({ blobs, ofBlobs, bytes }) => {
      if (performance.now() - shownAt < 200) return;
      remove();
      shownAt = performance.now();
      remove = terminal.progress(`${doing}: ${blobs} of ${ofBlobs} blobs, ${sizeText(bytes)}`);
    },
    end: () => remove(),
  };
};

export const reportCopy = (
  report: CopyReport,
  ends: { readonly from: string; readonly to: string },
  input: Input,
  terminal: Terminal,
): void => {
  if (wantsJson(input)) {
    terminal.out(jsonText({ ...ends, ...report }));
    return;
  }
  const { manifests, blobs, bytes, ignored } = report;
  const rows = manifests.map(({ role, outcome, digest, size, tag }) => [
    role,
    outcome,
    digest,
    sizeText(size),
    tag ?? '',
  ]);
  terminal.out(table(rows.map((row) => row.map(printable))));
  const blobText = `${blobs.copied} blobs copied (${sizeText(bytes)}), ${blobs.mounted} mounted, ${blobs.present} present`;
  terminal.out(`${printable(`${ends.from} -> ${ends.to}`)}: ${report.digest}, ${blobText}\n`);
  for (const one of ignored) terminal.err(`${printable(leftOut(one))}\n`);
};

/** Something that could not be taken along, or shown, in words. */
export const leftOut = ({ digest, why }: Ignored): string => `left out ${digest}: ${why}`;
