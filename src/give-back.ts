import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** When the keys of the warm-up are opened and nobody has asked for much yet, milliseconds. */
const afterMs = 1_000;

/**
 * Collects garbage once, a second from now: what only the start needed (sources, the configuration's text, compiled schemas) stays
 * otherwise until much work is done, and an idle service keeps a tenth more memory. Holds up the event loop for some
 * 70 ms. V8 offers this behind a flag only.
 */
export const giveBackWhatTheStartTook = (): void => {
  setTimeout(() => {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  }, afterMs).unref();
};
