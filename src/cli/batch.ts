import { create, toJson } from '@bufbuild/protobuf';
import {
  SignBatchRequestSchema,
  type SignBatchResponse,
  SignBatchResponseSchema,
  SigningService,
  SignRequestSchema,
} from '../gen/countersign/v1/signing_pb.ts';
import type { CountersignError } from '../model/error.ts';
import { readBatch, splitBatch } from './batch-file.ts';
import { openClient } from './client.ts';
import { type Input, type Terminal, UsageError } from './command.ts';
import { exitCode, exitCodeOf } from './exit-codes.ts';
import { readText } from './files.ts';
import { printable, styled, wantsJson } from './output.ts';
import { annotationsOf, formatsOf, recursiveOf, storageOf } from './request.ts';
import { detailTypes, fromStatus } from './rpc-error.ts';

const maxFileBytes = 64 * 1024 * 1024;
/** As long as the service lets a batch take, unless it is configured otherwise. */
const defaultTimeout = '5m';
const notForBatches = ['blob', 'name', 'digest', 'bundle'] as const;

/** `sign --batch FILE`: answers the exit code. Throws UsageError, or CountersignError when a call fails as a whole. */
export const runBatch = async (path: string, input: Input, terminal: Terminal): Promise<number> => {
  const given = notForBatches.filter((name) => input.text(name) !== undefined).map((name) => `--${name}`);
  if (input.positionals.length > 0) given.unshift('IMAGE');
  if (given.length > 0)
    throw new UsageError(`${given.join(', ')} cannot stand beside --batch: subjects are in the file.`);
  const storage = storageOf(input);
  const defaults = create(SignRequestSchema, {
    key: input.text('key') ?? '',
    formats: formatsOf(input),
    annotations: annotationsOf(input),
    ...recursiveOf(input),
    ...(storage === undefined ? {} : { storage }),
    ...(input.flag('again') ? { ifAbsent: false } : {}),
  });
  const items = readBatch(await readText(path, maxFileBytes), defaults);
  const failures: CountersignError[] = [];
  let answered = 0;
  const client = await openClient(input, terminal, defaultTimeout);
  const show = (): (() => void) => terminal.progress(`signing: ${answered} of ${items.length} done`);
  let hide = show();
  try {
    for (const part of splitBatch(items)) {
      const request = create(SignBatchRequestSchema, { items: [...part] });
      for await (const response of client.stream(SigningService.method.signBatch, request)) {
        answered += 1;
        if (response.outcome.case === 'error') failures.push(fromStatus(response.outcome.value));
        hide();
        terminal.out(wantsJson(input) ? jsonLine(response) : textLine(response, terminal));
        hide = show();
      }
    }
  } finally {
    hide();
    client.close();
    const failed = failures.length === 0 ? '' : `, ${failures.length} failed`;
    const unknown = items.length - answered;
    const missing = unknown === 0 ? '' : `, ${unknown} not answered`;
    terminal.err(`${answered - failures.length} of ${items.length} done${failed}${missing}\n`);
  }
  return exitCodeOfAll(failures);
};

const exitCodeOfAll = (failures: readonly CountersignError[]): number => {
  const [code = exitCode.ok, ...others] = new Set(failures.map((error) => exitCodeOf[error.code]));
  return others.length === 0 ? code : exitCode.failed;
};

/** As REST writes it. */
const jsonLine = (response: SignBatchResponse): string =>
  `${JSON.stringify(toJson(SignBatchResponseSchema, response, { alwaysEmitImplicit: true, registry: detailTypes }))}\n`;

const textLine = ({ reference, outcome }: SignBatchResponse, terminal: Terminal): string => {
  const name = printable(reference);
  if (outcome.case === 'error') {
    const { code, reason, message } = fromStatus(outcome.value);
    return `${styled(terminal, 'red', 'FAILED')}  ${name}  ${code} (${reason}): ${printable(message)}\n`;
  }
  const signed = outcome.value;
  const there = signed?.outputs.every(({ existing }) => existing) ? ' (was there already)' : '';
  const word = outcome.case === 'attested' ? 'attested' : 'signed';
  return `${styled(terminal, 'green', word)}  ${name}  ${printable(`${signed?.name}@${signed?.digest}`)}${there}\n`;
};
