import { create } from '@bufbuild/protobuf';
import {
  ExplainRequestSchema,
  type ExplainResponse,
  ExplainResponseSchema,
  SigningService,
} from '../gen/countersign/v1/signing_pb.ts';
import type { RuleReason } from '../gen/countersign/v1/types_pb.ts';
import { callOnce } from './client.ts';
import { type Command, type Input, type Terminal, UsageError } from './command.ts';
import { connectionOptions, outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { messageJson, printable, styled, table, wantsJson } from './output.ts';
import {
  annotationOption,
  annotationsOf,
  formatOption,
  formatsOf,
  keyOption,
  required,
  storageOf,
  storageOptions,
  typeOption,
} from './request.ts';
import { subjectOf, subjectOptions, subjectUsage } from './subject.ts';

export const policyExplain: Command = {
  name: 'policy explain',
  summary: 'say what policy decides for a request, and why, without signing',
  usage: subjectUsage.map((subject) => `${subject} --key NAME [options]`),
  about: ['Asks about Sign, or with --type about Attest. Exits with 0 when it is allowed, with 10 when it is denied.'],
  options: [
    keyOption,
    typeOption,
    formatOption('bundle', 'simple-signing', 'dsse'),
    annotationOption,
    ...storageOptions,
    ...subjectOptions,
    outputOption,
    ...connectionOptions,
  ],
  run: async (input, terminal) => {
    const request = create(ExplainRequestSchema, { request: await asked(input) });
    const response = await callOnce(input, terminal, 'asking policy', SigningService.method.explain, request);
    terminal.out(wantsJson(input) ? messageJson(ExplainResponseSchema, response) : explanation(response, terminal));
    return response.decision?.allowed === true ? exitCode.ok : exitCode.negative;
  },
};

const asked = async (input: Input) => {
  const storage = storageOf(input);
  const common = {
    key: required(input, 'key'),
    formats: formatsOf(input),
    subject: await subjectOf(input),
    ...(storage === undefined ? {} : { storage }),
  };
  const predicateType = input.text('type');
  const annotations = annotationsOf(input);
  if (predicateType === undefined) return { case: 'sign' as const, value: { ...common, annotations } };
  if (Object.keys(annotations).length > 0) throw new UsageError('--annotation belongs to Sign, --type to Attest.');
  return { case: 'attest' as const, value: { ...common, predicateType } };
};

const explanation = (response: ExplainResponse, terminal: Pick<Terminal, 'colour'>): string => {
  const { decision, caller } = response;
  const allowed = decision?.allowed === true;
  const word = allowed ? styled(terminal, 'green', 'ALLOWED') : styled(terminal, 'red', 'DENIED');
  const rule = decision?.rule ?? '';
  const head = table([
    ['caller', printable(`${caller?.subject ?? ''} (${caller?.issuer ?? ''})`)],
    ['policy', decision?.policyHash ?? ''],
    ...(decision?.nearest === undefined ? [] : [['nearest', decision.nearest.rule]]),
    ['request', response.requestId],
  ]);
  const by = rule === '' ? 'no rule matched' : `rule ${rule}`;
  return `${word}  ${by}\n${head}\n${(decision?.reasons ?? []).map(reasonText).join('')}`;
};

const reasonText = (reason: RuleReason): string => {
  const title = `${reason.effect} ${reason.rule}: ${reason.misses.length === 0 ? 'matches' : 'does not match'}\n`;
  const misses = reason.misses.map((miss) => [miss.condition, `wanted ${miss.wanted}`, `had ${miss.had}`]);
  return (
    title +
    table(
      misses.map((cells) => cells.map(printable)),
      '  ',
    )
  );
};
