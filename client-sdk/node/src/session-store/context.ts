// Which request a store's method is called for. Frameworks do not say: they hand over an id and a callback.

import type { IncomingMessage } from "node:http";
import type { TokenScope } from "../scope.js";

/** One request of a browser. */
export interface RequestContext {
  readonly scope: TokenScope;
  /** Saves under way. */
  saving: number;
  /** The framework saves by itself, at the end of the response: a failure is the response's. */
  ending: boolean;
  /** Why a save by the framework has failed. */
  failure: Error | undefined;
  /** Told when no save is under way any more. */
  settled: (() => void) | undefined;
}

const contexts = new WeakMap<IncomingMessage, RequestContext>();
let current: RequestContext | undefined;

/** Binds a request to its context. */
export function bind(request: IncomingMessage, context: RequestContext): void {
  contexts.set(request, context);
}

/** The context of a request, if it has one. */
export function contextOf(request: IncomingMessage | undefined): RequestContext | undefined {
  return request === undefined ? undefined : contexts.get(request);
}

/** The context within whose {@link within} this is called. */
export function currentContext(): RequestContext | undefined {
  return current;
}

/** Calls something that calls a store's methods before it returns. */
export function within<T>(context: RequestContext | undefined, call: () => T): T {
  const before = current;
  current = context;
  try {
    return call();
  } finally {
    current = before;
  }
}
