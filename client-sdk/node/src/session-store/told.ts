// Who is told that a save, a touch or a destruction is done: the framework, and what holds the response for it.

import type { IncomingMessage } from "node:http";
import type { RequestContext } from "./context.js";
import type { SessionData } from "./state.js";

/** Told when something is done, or why not. */
export type Told = (error?: Error) => void;

// As loose as the frameworks' own types, which differ from each other.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Callback<T = any> = (error?: any, value?: T) => void;

/**
 * While a session is saved, what its response writes waits in the socket: express-session sends all of a response but its
 * last byte before the save has answered. So it goes out in one piece, and a browser follows no redirect before that.
 */
export function heldBack(session: SessionData, callback: Callback | undefined): Callback | undefined {
  const request = session["req"] as IncomingMessage | undefined;
  const socket = request?.httpVersionMajor === 1 ? request.socket : undefined;
  // Made-up requests have made-up sockets, which may not cork.
  if (!callback || !socket || socket.destroyed || typeof socket.cork !== "function") return callback;
  socket.cork();
  return (error?: unknown) => {
    try {
      callback(error);
    } finally {
      // An end of the response has done so already: then this does nothing.
      socket.uncork();
    }
  };
}

/** Begins something that a request waits for. Gives who is to be told: tells the callback, and the request. */
export function begin(context: RequestContext | undefined, callback: Callback | undefined): Told {
  if (!context) return (error) => (error === undefined ? callback?.() : callback?.(error));
  const byFramework = context.ending;
  context.saving++;
  return (error) => {
    context.saving--;
    // The response says so: see the wrapper.
    if (error !== undefined && byFramework) context.failure ??= error;
    try {
      if (error !== undefined && !byFramework) callback?.(error);
      else callback?.();
    } finally {
      if (context.saving === 0) context.settled();
    }
  };
}
