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
  /** No save is under way any more. */
  settled(): void;
}

// A member of the request itself: it goes when the request goes.
const CONTEXT = Symbol("sidetalk.context");
type Bound = IncomingMessage & { [CONTEXT]?: RequestContext };
let current: RequestContext | undefined;

/** Binds a request to its context. */
export function bind(request: IncomingMessage, context: RequestContext): void {
  (request as Bound)[CONTEXT] = context;
}

/** The context of a request, if it has one. */
export function contextOf(request: IncomingMessage | undefined): RequestContext | undefined {
  return (request as Bound | undefined)?.[CONTEXT];
}

/** The context within whose {@link within} this is called. */
export function currentContext(): RequestContext | undefined {
  return current;
}

/** Calls something that calls a store's methods before it returns. */
export function within<This, Args extends unknown[], T>(
  context: RequestContext | undefined,
  call: (this: This, ...args: Args) => T,
  self: This,
  args: Args,
): T {
  const before = current;
  current = context;
  try {
    return call.apply(self, args);
  } finally {
    current = before;
  }
}
