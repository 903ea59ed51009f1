import type { Option } from './command.ts';

export const batchOption: Option = {
  name: 'batch',
  type: 'text',
  value: 'FILE',
  help: 'sign many at once: a line for each, an image or a JSON object (- for standard input)',
};

/** How `--batch` is used, for the help. */
export const batchAbout =
  'With --batch, each line of the file is the reference of an image, or a JSON object with image (or name and digest of a blob) ' +
  'and, where it differs from the options, reference, key, formats, annotations, recursive, platforms, ifAbsent, repository, ' +
  'store; with predicateType and predicate it is an attestation. A result is printed as soon as it is there; one that fails, ' +
  'fails alone. Exits with the code of the failures if they are all of one kind, with 1 otherwise.';
