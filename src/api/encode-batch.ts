import { create } from '@bufbuild/protobuf';
import { type SignBatchResponse, SignBatchResponseSchema } from '../gen/countersign/v1/signing_pb.ts';
import type { Caller } from '../model/caller.ts';
import { CountersignError } from '../model/error.ts';
import type { BatchOutcome } from '../signing/sign-batch.ts';
import type { PartSummary } from './conclude.ts';
import { encodeAttest, encodeSign } from './encode.ts';
import { statusMessage } from './status.ts';

/** How one item ended, caller -> message. Pure. */
export const encodeBatchOutcome = (
  { reference, index, verb, requestId, outcome }: BatchOutcome,
  caller: Caller,
): SignBatchResponse => {
  if (outcome instanceof CountersignError) {
    const error = { case: 'error' as const, value: statusMessage(outcome, requestId) };
    return create(SignBatchResponseSchema, { reference, index, outcome: error });
  }
  return create(SignBatchResponseSchema, {
    reference,
    index,
    outcome:
      verb === 'attest'
        ? { case: 'attested', value: encodeAttest(outcome, caller, requestId) }
        : { case: 'signed', value: encodeSign(outcome, caller, requestId) },
  });
};

/** Why a batch ended early, where that is the last of its messages. */
export const encodeBatchEnd = (error: CountersignError, requestId: string): SignBatchResponse =>
  create(SignBatchResponseSchema, { outcome: { case: 'error', value: statusMessage(error, requestId) } });

const names = { sign: 'SignBatch.Sign', attest: 'SignBatch.Attest' } as const;

export const summarizeBatchOutcome = ({ verb, requestId, ms, outcome }: BatchOutcome): PartSummary => ({
  name: verb === undefined ? 'SignBatch.Item' : names[verb],
  requestId,
  ms,
  error: outcome instanceof CountersignError ? outcome : undefined,
});
