// What subjects that speak HTTP and JSON share.
import { alike, unusable } from './fault-ask.ts';
import type { Asked, HttpAnswer } from './fault-proxy.ts';

/** Answers of status 200 that are not what was asked for. */
export const httpGarbage = {
  bytes: ['', '<html>', '{', 'null', '[]', '"text"', '7', '{}', '{"data":null}', '{"error":{}}'],
  ...alike(unusable()),
};

/** All that a careless backend might quote of a request. */
export const quoted = ({ headers, body }: Asked): string => `${JSON.stringify(headers)} ${body.toString()}`;

/** A page of some proxy, for statuses that are not the backend's own. */
export const page = (status: number, headers: HttpAnswer['headers'] = {}): HttpAnswer => ({
  status,
  headers: { 'content-type': 'text/html', ...headers },
  body: `<html>${status}</html>`,
});
