/**
 * Sessions and global objects shared between processes, through a Sidetalk sidecar on this host.
 * @packageDocumentation
 */
export { type Address, DEFAULT_ADDRESS, parseAddress } from "./address.js";
export type { CallOptions, Json, Kind, PathOp, ReadOptions, Reply, WriteOptions } from "./call.js";
export { type Keys, Sidetalk, type SidetalkOptions, Talk } from "./client.js";
export {
  BehindError,
  BrokenError,
  isDown,
  isEnded,
  isUnknown,
  type ProblemDocument,
  RefusedError,
  SidetalkError,
  TimeoutError,
  UnreachableError,
} from "./errors.js";
export { Counter, Document, Session, StringSet } from "./objects.js";
export { isToken, TokenScope } from "./scope.js";
export type { ChangeEvent, CurrentEvent, ResetEvent, WatchEvent, WatchOptions } from "./watch.js";
