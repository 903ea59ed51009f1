// 50 signers of one digest over two replicas: all 50 signatures are found afterwards, whatever the layout and the registry.
// 5 runs each here; test/peers/concurrent-writers.test.ts makes 20 of each, and 20 against registries of others.
import { registerMatrix } from './writers-matrix.ts';

registerMatrix(5);
