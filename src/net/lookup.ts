import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { assertAddressAllowed, type EgressPolicy } from './egress.ts';

/** A host name -> all of its addresses. Rejects as `dns.lookup` of Node does. */
export type Resolver = (hostname: string) => Promise<readonly LookupAddress[]>;

/** Connections that are opened together share one answer, this many milliseconds long. */
const keptMs = 1_000;
/** More addresses of one name are not tried. */
const maxAddresses = 16;

/** The system's own: /etc/hosts, search domains, DNS. */
export const systemResolver: Resolver = (hostname) => lookup(hostname, { all: true });

/**
 * How the connections to one origin find their address: the name is resolved here, every answer is judged, and what is handed
 * back is what is connected to, so that a name cannot mean another address a moment later. Answers that are refused are left
 * out; with none left the connection fails as `assertAddressAllowed` says. Nothing is resolved for a connection that is kept.
 */
export const judgedLookup = (origin: URL, policy: EgressPolicy, resolve: Resolver): LookupFunction => {
  let kept: { readonly until: number; readonly answer: Promise<readonly LookupAddress[]> } | undefined;

  const judged = async (hostname: string): Promise<readonly LookupAddress[]> => {
    const answers = (await resolve(hostname)).slice(0, maxAddresses);
    let refusal: unknown;
    const allowed = answers.filter(({ address }) => {
      try {
        assertAddressAllowed(origin, address, policy);
        return true;
      } catch (error) {
        refusal ??= error;
        return false;
      }
    });
    if (allowed.length > 0) return allowed;
    throw refusal ?? Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' });
  };

  const ask = (hostname: string): Promise<readonly LookupAddress[]> => {
    const now = performance.now();
    if (kept === undefined || now >= kept.until) {
      const asked = { until: now + keptMs, answer: judged(hostname) };
      kept = asked;
      asked.answer.catch(() => {
        if (kept === asked) kept = undefined;
      });
    }
    return kept.answer;
  };

  return (hostname, options, callback) => {
    ask(hostname).then(
      (addresses) => {
        const [first] = addresses;
        if (options.all === true) callback(null, [...addresses]);
        else callback(null, first?.address ?? '', first?.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, ''),
    );
  };
};
