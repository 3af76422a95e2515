// Lets a browser read its own writes on any node.
//
// express-session sends the headers before its save has finished, so what a save returns comes too late for them. This
// holds the response until the save has answered, and gives the browser the token of its write in a cookie. It also
// turns a failed save into a 503, where the browser would have been told of a success.

import type { IncomingMessage, ServerResponse } from "node:http";
import type session from "express-session";
import { isToken, TokenScope } from "../scope.js";
import { bind, type RequestContext, within } from "../session-store/context.js";
import type { SidetalkStore } from "./store.js";
import { hold, type Held } from "./hold.js";
import { type CookieAttributes, type TokenCookie, TokenCookies } from "./token-cookies.js";

/** How {@link readYourWrites} behaves. */
export interface ReadYourWritesOptions {
  /** Attributes of the token cookies. Give those of the session's cookie: they belong together. */
  cookie?: CookieAttributes | undefined;
  /** The start of the cookies' names. Default `sidetalk`. */
  name?: string | undefined;
  /** How many seconds a browser brings a token back: as long as a node may lag behind. Default 60. */
  maxAgeSeconds?: number | undefined;
  /** Told of a save that has failed. The browser gets a 503. */
  onSaveError?: ((error: Error, request: IncomingMessage) => void) | undefined;
}

type Next = (error?: unknown) => void;
/** Middleware, as Express and Connect take it. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: Next) => void;
type WithSession = IncomingMessage & {
  session?: session.Session & session.SessionData;
  sessionStore?: object;
};

const NAME_DEFAULT = "sidetalk";
const MAX_AGE_SECONDS_DEFAULT = 60;

/**
 * Wraps the unmodified express-session middleware: `app.use(readYourWrites(session({ store, … }), store))`.
 *
 * The browser's next request, on any node, sees what this one has written; or gets a 503 when that node is cut off and
 * cannot catch up.
 */
export function readYourWrites(
  middleware: (request: never, response: never, next: Next) => void,
  store: SidetalkStore,
  options: ReadYourWritesOptions = {},
): Middleware {
  const cookies = new TokenCookies(
    options.name ?? NAME_DEFAULT,
    options.maxAgeSeconds ?? MAX_AGE_SECONDS_DEFAULT,
    options.cookie ?? {},
  );
  return function sidetalkReadYourWrites(request: WithSession, response, next) {
    // Mounted twice: the first one does it all.
    if (request.session) return next();
    const brought = cookies.read(request.headers.cookie);
    const scope = new TokenScope(tokensOf(brought));
    const context: RequestContext = { scope, saving: 0, ending: false, failure: undefined, settled: undefined };
    bind(request, context);
    const held = hold(response, context, {
      headers: () => cookies.write(response, scope, brought),
      save: () => saveEarly(request, response, store),
      failed: (error) => options.onSaveError?.(error, request),
    });
    const go = (error?: unknown) => {
      if (request.sessionStore === store) request.sessionStore = viewOf(store, context);
      watchEnd(response, context, held);
      within(undefined, () => next(error));
    };
    within(context, () => middleware(request as never, response as never, go));
  };
}

function tokensOf(brought: readonly TokenCookie[]): string[] {
  return brought.map((cookie) => cookie.token).filter(isToken);
}

/** The store as one request sees it: what the application calls through its session is this request's. */
function viewOf(store: SidetalkStore, context: RequestContext): SidetalkStore {
  return Object.create(store, { context: { value: context } }) as SidetalkStore;
}

/** Within `end`, express-session saves by itself. */
function watchEnd(response: ServerResponse, context: RequestContext, held: Held): void {
  const end = response.end as (...args: unknown[]) => ServerResponse;
  if (end === held.end) return;
  response.end = function sidetalkEnd(this: ServerResponse, ...args: unknown[]) {
    context.ending = true;
    try {
      return within(context, () => end.apply(this, args));
    } finally {
      context.ending = false;
    }
  } as typeof response.end;
}

/**
 * Saves before the response begins, when it begins before it ends: what is streamed cannot wait for its own end.
 * express-session sees that it was saved.
 */
function saveEarly(request: WithSession, response: ServerResponse, store: SidetalkStore): void {
  const { session } = request;
  if (!session || typeof session.save !== "function") return;
  const changed = store._changed(session as never) ?? isToBeStored(session.id, response);
  if (changed) session.save();
}

/** A new session whose cookie goes out is one that express-session is going to store. */
function isToBeStored(id: string, response: ServerResponse): boolean {
  const value = `=s%3A${encodeURIComponent(id)}.`;
  const lines = response.getHeader("Set-Cookie");
  return (Array.isArray(lines) ? lines : [lines]).some((line) => typeof line === "string" && line.includes(value));
}
