import type { SignatureVerdict, VerifyResponse } from '../gen/countersign/v1/verification_pb.ts';
import type { Terminal } from './command.ts';
import { printable, styled, table } from './output.ts';
import { formatName } from './request.ts';

/** A verdict for people: the answer first, then each signature that was found and why it counts or does not. */
export const verdictText = (response: VerifyResponse, subject: string, terminal: Pick<Terminal, 'colour'>): string => {
  const word = response.verified ? styled(terminal, 'green', 'VERIFIED') : styled(terminal, 'red', 'NOT VERIFIED');
  const notices = response.notices.map((notice) => `  ${printable(notice)}\n`).join('');
  const head = `${word}  ${printable(subject)}\n  ${printable(response.summary)}\n  digest ${response.digest}\n${notices}`;
  return [head, ...response.signatures.map((signature) => signatureText(signature, terminal))].join('\n');
};

const signatureText = (signature: SignatureVerdict, terminal: Pick<Terminal, 'colour'>): string => {
  const mark = signature.counts ? styled(terminal, 'green', '+') : styled(terminal, 'red', '-');
  const stored = signature.stored === undefined ? 'given' : `${signature.stored.repository}@${signature.stored.digest}`;
  const by = signature.signedBy;
  const rows: (readonly [string, string])[] = [
    ['at', stored],
    ...present('type', signature.predicateType),
    ...present('key', signature.key),
    ...(by === undefined
      ? []
      : ([
          ['who', `${by.subject} (${by.issuer})`],
          ['rule', `${by.rule} (policy ${by.policyHash})`],
          ['when', by.time],
          ['audit', by.auditId],
        ] as const)),
    ...signature.steps.filter((step) => !step.passed).map((step) => [`failed ${step.name}`, step.detail] as const),
  ];
  const title = `${mark} ${formatName(signature.format)}: ${signature.reason}. ${printable(signature.message)}\n`;
  return (
    title +
    table(
      rows.map(([name, value]) => [name, printable(value)]),
      '  ',
    )
  );
};

const present = (name: string, value: string): readonly (readonly [string, string])[] =>
  value === '' ? [] : [[name, value]];
