// How a store is set up.

import type { Sidetalk, SidetalkOptions } from "../client.js";

/** How a store is set up. */
export interface StoreOptions {
  /** The client, or where the sidecar listens. */
  client?: Sidetalk | SidetalkOptions | string | undefined;
  /** Stands before every session id. Applications that share a cluster and not their sessions differ in it. */
  prefix?: string | undefined;
  /** How long a session lives on when its cookie does not say. Default: a day. */
  ttlSeconds?: number | undefined;
  /**
   * Integers in the session that requests only count up or down: what parallel requests add, adds up. A name, a path
   * with dots, or a list of names.
   */
  counters?: readonly (string | readonly string[])[] | undefined;
  /** Lists of strings in the session that are sets: what parallel requests add and remove, all counts. Sorted. */
  sets?: readonly (string | readonly string[])[] | undefined;
  /**
   * What becomes of requests while the sidecar cannot be reached. `fail` (the default): they get its error. `skip`:
   * after the first that fails, they go on without `req.session`, until the sidecar is back.
   */
  whenDown?: "fail" | "skip" | undefined;
  /**
   * What becomes of a read that is older than what the browser has seen, because the node is cut off. `fail` (the
   * default): the request gets an error with status 503, and a proxy may try another node. `serve`: it gets what there
   * is.
   */
  whenBehind?: "fail" | "serve" | undefined;
  /**
   * How many nodes must have a change before its request is answered. Default: the sidecar's own node; then what it was
   * told in the milliseconds before it crashes is lost. With 2, one node may crash at any time.
   */
  acks?: number | "majority" | "all" | undefined;
  /** How long to wait for them, in milliseconds. Default 1000. */
  acksTimeoutMillis?: number | undefined;
  /**
   * What becomes of a change that too few nodes have acknowledged in time; it stays in both cases. `fail` (the
   * default): the request gets an error with status 503. `serve`: it goes on, with what this node alone may have.
   */
  whenUnacknowledged?: "fail" | "serve" | undefined;
  /** How long the node may take to catch up, or to ask others about a session, in milliseconds. Default 1000. */
  waitMillis?: number | undefined;
}
