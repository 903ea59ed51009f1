// The images that the container tests use: public ones with an ordinary daemon, ones made on the spot with the private
// daemon of `with-daemon`, or, for each, whatever the environment names (COUNTERSIGN_IMAGE_VAULT=vault.mirror/vault:1.21).
import { dirname, join, resolve } from 'node:path';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { peerPath, requirePeers, type PeerName } from '../peers/peer.ts';
import { docker, imagesAreLocal } from './docker.ts';
import { makeBuildBase, makeProgram, makeRuntimeBase } from './made-images.ts';

export type ImageName = 'vault' | 'registry' | 'runtime' | 'build';

type Image = { readonly publicName: string; readonly variable: string; readonly make: (tag: string) => Promise<void> };

const program =
  (peer: PeerName) =>
  async (tag: string): Promise<void> => {
    requirePeers(peer);
    await makeProgram(tag, realpathSync(peerPath(peer) ?? peer));
  };

const images: Readonly<Record<ImageName, Image>> = {
  vault: { publicName: 'hashicorp/vault:1.21.0', variable: 'COUNTERSIGN_IMAGE_VAULT', make: program('vault') },
  registry: { publicName: 'registry:3.1.1', variable: 'COUNTERSIGN_IMAGE_REGISTRY', make: program('distribution') },
  runtime: {
    publicName: 'gcr.io/distroless/nodejs24-debian13:nonroot',
    variable: 'COUNTERSIGN_IMAGE_RUNTIME',
    make: makeRuntimeBase,
  },
  build: {
    publicName: 'node:24-trixie-slim',
    variable: 'COUNTERSIGN_IMAGE_BUILD',
    make: makeBuildBase,
  },
};

const made = new Map<ImageName, Promise<string>>();

/** The name under which the daemon knows this image, or can pull it; made first where it has to be. */
export const image = (name: ImageName): Promise<string> => {
  const known = made.get(name) ?? provide(name, images[name]);
  made.set(name, known);
  return known;
};

const provide = async (name: ImageName, { publicName, variable, make }: Image): Promise<string> => {
  const override = process.env[variable] ?? '';
  if (override !== '') return override;
  if (!imagesAreLocal) return publicName;
  const tag = `countersign-test/${name}:local`;
  await make(tag);
  return tag;
};

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

let project: Promise<string> | undefined;

/** The project's own image, built from its Dockerfile on these bases, once; answers its name. */
export const projectImage = (): Promise<string> => {
  project ??= buildProject('countersign-test/countersign:local');
  return project;
};

const buildProject = async (tag: string): Promise<string> => {
  const [build, runtime] = [await image('build'), await image('runtime')];
  const bases = ['--build-arg', `BUILD_IMAGE=${build}`, '--build-arg', `RUNTIME_IMAGE=${runtime}`];
  await docker(['build', '--tag', tag, ...bases, '--file', join(root, 'Dockerfile'), root]);
  return tag;
};
