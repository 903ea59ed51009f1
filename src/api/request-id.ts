import { randomUUIDv7 } from 'node:crypto';

const acceptable = /^[A-Za-z0-9._-]{1,64}$/;

/** The caller's `x-request-id` when it is 1 to 64 of `A-Za-z0-9._-`, else a new UUID version 7. */
export const requestIdFrom = (header: string | undefined): string =>
  header !== undefined && acceptable.test(header) ? header : randomUUIDv7();
