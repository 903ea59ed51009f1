/** Bounds of both edges. Times in milliseconds, sizes in bytes. */
export type Limits = {
  /** The longest a request may take, whatever deadline the caller sends. */
  readonly maxRequestMs: number;
  /** The longest a batch may take. */
  readonly maxBatchMs: number;
  /** Batches worked on at once; as many more wait for their turn. */
  readonly maxBatches: number;
  /** Requests worked on at once. */
  readonly maxInFlight: number;
  /** Requests that wait for their turn; one more is refused. */
  readonly maxQueued: number;
  /** One message or body, also after decompression. */
  readonly maxMessageBytes: number;
  /** Open connections of one listener, and of one remote address. */
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** gRPC: streams of one connection. */
  readonly maxConcurrentStreams: number;
  /** gRPC: a connection is asked to leave after this (±10 %), so that clients spread over replicas. */
  readonly maxConnectionAgeMs: number;
  readonly maxConnectionAgeGraceMs: number;
  readonly maxConnectionIdleMs: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  /** From accepting a connection to its first byte. */
  readonly firstByteMs: number;
  readonly tlsHandshakeMs: number;
  /** From accepting a request to its last header (REST), and to the last byte of its body (both edges). */
  readonly headersMs: number;
  readonly bodyMs: number;
  /** How long the reader of a stream may take nothing while something is there for it. */
  readonly readMs: number;
};

/**
 * What a listener allows unless told otherwise. Connections per address have no bound of their own below the total: behind
 * a load balancer all callers share one address.
 */
export const defaultLimits: Limits = {
  maxRequestMs: 30_000,
  maxBatchMs: 5 * 60_000,
  maxBatches: 32,
  maxInFlight: 256,
  maxQueued: 1024,
  maxMessageBytes: 4 * 1024 * 1024,
  maxConnections: 1000,
  maxConnectionsPerAddress: 1000,
  maxConcurrentStreams: 100,
  maxConnectionAgeMs: 30 * 60_000,
  maxConnectionAgeGraceMs: 60_000,
  maxConnectionIdleMs: 5 * 60_000,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 10_000,
  firstByteMs: 5_000,
  tlsHandshakeMs: 10_000,
  headersMs: 10_000,
  bodyMs: 30_000,
  readMs: 60_000,
};

/** The limits that are configured, and the defaults of the others. A connection that is asked to leave may end its batches. */
export const limitsOf = (configured: Partial<Limits>): Limits => {
  const limits = { ...defaultLimits, ...configured };
  return { ...limits, maxConnectionAgeGraceMs: Math.max(limits.maxConnectionAgeGraceMs, limits.maxBatchMs + 10_000) };
};
