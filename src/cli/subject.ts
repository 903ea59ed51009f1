import { create } from '@bufbuild/protobuf';
import { basename } from 'node:path';
import { type Subject, SubjectSchema } from '../gen/countersign/v1/types_pb.ts';
import { type Input, type Option, UsageError } from './command.ts';
import { digestFile, readBounded, readUpTo } from './files.ts';

/** Blobs up to this size travel whole; larger ones are named by their digest (`Blob.content` in the proto). */
const maxBlobBytes = 2 * 1024 * 1024;

/** Usage of a command that takes a subject. */
export const subjectUsage: readonly string[] = ['IMAGE', '--blob FILE', '--digest NAME@sha256:HEX'];

export const subjectOptions: readonly Option[] = [
  {
    name: 'blob',
    type: 'text',
    value: 'FILE',
    help: 'a file instead of an image; up to 2 MiB travels whole, a larger one is named by its digest (which a policy rule must allow: blobsByDigest)',
  },
  { name: 'name', type: 'text', value: 'NAME', help: "the blob's name for policy; the file's own name otherwise" },
  {
    name: 'digest',
    type: 'text',
    value: 'NAME@DIGEST',
    help: 'a blob that is not at hand, by name and SHA-256 digest (a policy rule must allow it: blobsByDigest)',
  },
];

/** IMAGE, `--blob` or `--digest` -> the subject of the request; exactly one of them. Throws UsageError. */
export const subjectOf = async (input: Input): Promise<Subject> => {
  const [image, ...more] = input.positionals;
  const blob = input.text('blob');
  const digest = input.text('digest');
  const given = [image, blob, digest].filter((value) => value !== undefined).length;
  if (more.length > 0) throw new UsageError(`One IMAGE at a time; '${more.join(' ')}' is too much.`);
  if (given !== 1) throw new UsageError('Name exactly one subject: IMAGE, --blob FILE or --digest NAME@sha256:HEX.');
  const name = input.text('name');
  if (name !== undefined && blob === undefined) throw new UsageError('--name belongs to --blob.');
  if (image !== undefined) return create(SubjectSchema, { kind: { case: 'image', value: image } });
  if (digest !== undefined) return digestSubject(digest);
  return blobSubject(blob ?? '', name);
};

/** What a subject is called in messages. */
export const subjectName = (subject: Subject): string => {
  const { kind } = subject;
  if (kind.case === undefined) return '';
  return kind.case === 'image' ? kind.value : kind.value.name;
};

const digestSubject = (text: string): Subject => {
  const [, name, digest] = /^(.+)@(sha256:[0-9a-f]{64})$/.exec(text) ?? [];
  if (name === undefined || digest === undefined) {
    throw new UsageError('--digest must be NAME@sha256: and 64 lower-case hex digits.');
  }
  return create(SubjectSchema, { kind: { case: 'blobDigest', value: { name, digest } } });
};

const blobSubject = async (path: string, given: string | undefined): Promise<Subject> => {
  if (path === '-' && given === undefined) throw new UsageError('--blob - needs a --name.');
  const name = given ?? basename(path);
  const content = path === '-' ? await readBounded(path, maxBlobBytes) : await readUpTo(path, maxBlobBytes);
  return content === undefined
    ? create(SubjectSchema, { kind: { case: 'blobDigest', value: { name, digest: await digestFile(path) } } })
    : create(SubjectSchema, { kind: { case: 'blob', value: { name, content } } });
};
