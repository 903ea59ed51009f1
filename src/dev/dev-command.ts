import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import type { Command } from '../cli/command.ts';
import { exitCode } from '../cli/exit-codes.ts';
import { styled, table } from '../cli/output.ts';
import { pushImage } from './image.ts';
import { callCommands } from './peer-commands.ts';
import { repository } from './scene.ts';
import { untilSignal } from './signals.ts';
import { freePorts, startWorld, type WorldPorts } from './world.ts';

const fixedPorts: WorldPorts = { grpc: 8080, rest: 8081, admin: 9090, registry: 5001, issuer: 5002 };

const levels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

export const dev: Command = {
  name: 'dev',
  summary: 'run the service in an embedded world: issuer, registry, key, policy',
  usage: ['[options]'],
  about: [
    `Listens on 127.0.0.1: gRPC ${fixedPorts.grpc}, REST ${fixedPorts.rest}, admin ${fixedPorts.admin}, registry ${fixedPorts.registry}, issuer ${fixedPorts.issuer}. Everything lives in memory and in a temporary folder, and is gone at the end.`,
  ],
  options: [
    { name: 'free-ports', type: 'flag', help: 'listen on free ports instead' },
    {
      name: 'log',
      type: 'text',
      value: 'LEVEL',
      help: "the least severe level of the service's log, on stderr",
      choices: levels,
      default: 'info',
    },
  ],
  run: async (input, terminal) => {
    const logLevel = levels.find((level) => level === input.text('log')) ?? 'info';
    const world = await startWorld({ ports: input.flag('free-ports') ? freePorts : fixedPorts, logLevel });
    try {
      const image = await pushImage(world.registry.host, repository, 'v1');
      const reference = `${world.registry.host}/${repository}:v1`;
      const tokenFile = join(world.folder, 'token');
      await writeFile(tokenFile, await world.token({}, 12 * 60 * 60));
      terminal.out(`\n${styled(terminal, 'bold', 'countersign dev')}\n\n`);
      terminal.out(
        table(
          [
            ['gRPC', world.grpc],
            ['REST', `http://${world.rest}`],
            ['admin', `http://${world.admin}`],
            ['registry', world.registry.host],
            ['image', `${reference} (${image.digest})`],
            ['issuer', world.issuer],
            ['policy', world.policyFile],
            ['audit', world.auditFile],
            ['token', tokenFile],
          ],
          '  ',
        ),
      );
      terminal.out(`\nexport COUNTERSIGN_SERVER=grpc://${world.grpc} COUNTERSIGN_TOKEN_FILE=${tokenFile}\n`);
      terminal.out(`export TOKEN=$(cat ${tokenFile})\n\n`);
      terminal.out(`npm run --silent countersign -- sign ${reference} --key ${world.key}\n`);
      for (const { command } of callCommands(world, reference)) terminal.out(`${command}\n`);
      terminal.out('\nCtrl-C ends it.\n');
      await untilSignal();
      return exitCode.ok;
    } finally {
      await world.stop();
    }
  },
};
