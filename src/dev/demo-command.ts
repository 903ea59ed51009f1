import type { Command, Terminal } from '../cli/command.ts';
import { exitCode } from '../cli/exit-codes.ts';
import { styled } from '../cli/output.ts';
import { createNarrator } from './narrator.ts';
import { callCommands, cosignCommands, type PeerCommand } from './peer-commands.ts';
import { untilSignal } from './signals.ts';
import { type Told, tellStory } from './story.ts';
import { startWorld, type World } from './world.ts';

const halfADay = 12 * 60 * 60;

export const demo: Command = {
  name: 'demo',
  summary: 'tell the story of a signature with real requests, and check every step',
  usage: ['[--keep]'],
  about: [
    'Starts an embedded world on 127.0.0.1 (issuer, registry, key) and the service in it, and tells what happens to a signature. Exits with 0 only if every step did what it says.',
  ],
  options: [
    {
      name: 'keep',
      type: 'flag',
      help: 'leave the world running, with lines for grpcurl, curl and cosign that can be pasted; Ctrl-C ends it',
    },
  ],
  run: async (input, terminal) => {
    const started = performance.now();
    const keep = input.flag('keep');
    const world = await startWorld();
    try {
      const tell = createNarrator(terminal);
      tell.title('countersign demo', 'an embedded world on this machine, real requests over TCP');
      const told = await tellStory(world, tell);
      const title = keep ? 'Ask cosign' : 'Ask cosign (paste these while the demo runs with --keep)';
      showCommands(terminal, title, cosignCommands(told.reference, told.publicKey));
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      terminal.out(`\n${styled(terminal, 'green', `All ${tell.checked()} claims hold.`)}  ${seconds} s\n`);
      if (keep) await keepRunning(world, told, terminal);
      return exitCode.ok;
    } catch (caught) {
      const message = caught instanceof Error ? caught.message : String(caught);
      terminal.err(`\n${styled(terminal, 'red', 'The demo failed.')} ${message}\n`);
      return exitCode.failed;
    } finally {
      await world.stop();
    }
  },
};

const keepRunning = async (world: World, told: Told, terminal: Terminal): Promise<void> => {
  const token = await world.token({}, halfADay);
  terminal.out('\nThe world keeps running; Ctrl-C ends it. A token of the release, good for twelve hours:\n\n');
  terminal.out(`export TOKEN=${token}\n`);
  showCommands(terminal, 'Call it', callCommands(world, told.reference));
  terminal.out('\n');
  await untilSignal();
};

const showCommands = (terminal: Terminal, title: string, commands: readonly PeerCommand[]): void => {
  terminal.out(`\n${styled(terminal, 'bold', title)}\n`);
  for (const { remark, command } of commands) terminal.out(`\n${styled(terminal, 'dim', `# ${remark}`)}\n${command}\n`);
};
