import { speaksPlainHttp } from '../net/egress.ts';

/** One repository of one registry. */
export type Target = {
  /** `host[:port]`, canonical */
  readonly registry: string;
  /** The path: `acme/app`. */
  readonly repository: string;
};

/** What a request does there; the scope of a token says it in these words. */
export type Actions = 'pull' | 'pull,push' | 'delete';

/** `https://host/v2/` (or http, where configured). Docker Hub's API lives at another name than its images'. */
export const baseUrl = (target: Target, plainHttpHosts: readonly string[]): string => {
  const host = target.registry === 'index.docker.io' ? 'registry-1.docker.io' : target.registry;
  return `${speaksPlainHttp(host, plainHttpHosts) ? 'http' : 'https'}://${host}/v2/`;
};
