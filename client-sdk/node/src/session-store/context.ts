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

const bound = new WeakMap<IncomingMessage, RequestContext>();
let hasBound = false;
/** Nobody has a context where nothing is wrapped; asking a request for what it does not have is dear. */
let hasContexts = false;
let current: RequestContext | undefined;

/** Binds a request to its context, where its store does not lead to it. */
export function bind(request: IncomingMessage, context: RequestContext): void {
  hasBound = hasContexts = true;
  bound.set(request, context);
}

/** The context of a request, if it has one. */
export function contextOf(request: IncomingMessage | undefined): RequestContext | undefined {
  if (!request || !hasContexts) return undefined;
  const { sessionStore } = request as { sessionStore?: { context?: Partial<RequestContext> } };
  const context = sessionStore?.context;
  // Other stores may have something of that name.
  if (typeof context?.settled === "function") return context as RequestContext;
  return hasBound ? bound.get(request) : undefined;
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
  hasContexts ||= context !== undefined;
  try {
    return call.apply(self, args);
  } finally {
    current = before;
  }
}
