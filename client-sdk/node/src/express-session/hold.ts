// Holds a response back until the saves of its session have answered.

import type { ServerResponse } from "node:http";
import type { RequestContext } from "../session-store/context.js";

/** What happens around a held response. */
export interface Hooks {
  /** Just before the headers leave. */
  headers(): void;
  /** The response has begun and not ended: what is to be saved had better be saved now. */
  save(): void;
  /** A save has failed, and the browser is told so. */
  failed(error: Error): void;
}

/** A held response. */
export interface Held {
  /** Its `end`, as it was put in place. */
  readonly end: ServerResponse["end"];
}

/** What Node buffers before it asks a writer to wait. */
const BUFFER_BYTES = 16 * 1024;

type Args = unknown[];
type Method = (this: ServerResponse, ...args: Args) => unknown;

/**
 * Holds a response. Must come before whatever saves wraps the response's methods in turn. What is written while a save
 * is under way comes later, in order; what is written without one is not held longer than to the end of this turn of the
 * event loop.
 */
export function hold(response: ServerResponse, context: RequestContext, hooks: Hooks): Held {
  const holder = new Holder(response, context, hooks);
  context.settled = () => holder.settled();
  response.writeHead = function (...args: Args) {
    holder.writeHead(args);
    return response;
  } as ServerResponse["writeHead"];
  response.write = ((...args: Args) => holder.write(args)) as ServerResponse["write"];
  response.flushHeaders = () => holder.flushHeaders();
  if (Object.hasOwn(response, "on")) watchDrains(response, holder);
  const end = ((...args: Args) => {
    holder.end(args);
    return response;
  }) as ServerResponse["end"];
  response.end = end;
  return { end };
}

/** Somebody further in keeps listeners from the response. */
function watchDrains(response: ServerResponse, holder: Holder): void {
  const on = response.on as Method;
  response.on = function (...args: Args) {
    holder.listens(args[0], args[1]);
    return on.apply(response, args);
  } as ServerResponse["on"];
}

class Holder {
  readonly #response: ServerResponse;
  readonly #context: RequestContext;
  readonly #hooks: Hooks;
  readonly #writeHead: Method;
  readonly #write: Method;
  readonly #flushHeaders: Method;
  readonly #end: Method;
  #operations: (() => unknown)[] = [];
  #bytes = 0;
  #drains: Method[] = [];
  #hasHead = false;
  #hasBegun = false;
  #hasEnded = false;
  /** Its time to be saved early has come. */
  #looked = false;
  #looking = false;
  /** Everything passes. */
  #open = false;
  /** It is answered already: what the application writes goes nowhere. */
  #failed = false;

  constructor(response: ServerResponse, context: RequestContext, hooks: Hooks) {
    this.#response = response;
    this.#context = context;
    this.#hooks = hooks;
    this.#writeHead = response.writeHead as Method;
    this.#write = response.write as Method;
    this.#flushHeaders = response.flushHeaders as Method;
    this.#end = response.end as Method;
  }

  /** For the application the headers are sent, although they are still here. */
  get begun(): boolean {
    return (!this.#open && this.#hasBegun) || (this.#response as unknown as { _header: unknown })._header != null;
  }

  writeHead(args: Args): void {
    if (this.#failed) return;
    if (this.#open) {
      this.#writeHead.apply(this.#response, args);
      return;
    }
    // Those who look at `_header` write the head twice.
    if (this.#hasHead) return;
    this.#hasHead = true;
    this.#keep(this.#writeHead, args);
    this.#look();
  }

  write(args: Args): boolean {
    if (this.#failed) return true;
    if (this.#open) return this.#write.apply(this.#response, args) as boolean;
    this.#beginHead();
    this.#keep(this.#write, args);
    this.#bytes += sizeOf(args[0]);
    this.#look();
    return this.#bytes < BUFFER_BYTES;
  }

  flushHeaders(): void {
    if (this.#failed) return;
    if (this.#open) {
      this.#flushHeaders.call(this.#response);
      return;
    }
    this.#beginHead();
    this.#keep(this.#flushHeaders, []);
    this.#look();
  }

  end(args: Args): void {
    if (this.#failed) return;
    if (this.#open) {
      // The head has left with a success that it was not.
      if (this.#context.failure) this.#response.destroy(this.#context.failure);
      else this.#end.apply(this.#response, args);
      return;
    }
    this.#hasEnded = true;
    const isFree = this.#context.saving === 0;
    if (isFree && !this.#hasBegun && !this.#context.failure) {
      // As with most requests: nothing was saved, and nothing is held.
      this.#open = true;
      this.#hooks.headers();
      this.#end.apply(this.#response, args);
      return;
    }
    this.#keep(this.#end, args);
    if (isFree) this.#release();
  }

  /** No save is under way any more. */
  settled(): void {
    if (!this.#open && (this.#hasEnded || this.#looked)) this.#release();
  }

  /** What is to be called when there is room again. Others who hold the response may keep it from the response itself. */
  listens(type: unknown, listener: unknown): void {
    if (type === "drain" && !this.#open) this.#drains.push(listener as Method);
  }

  #keep(method: Method, args: Args): void {
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      const get = () => this.begun;
      Object.defineProperty(this.#response, "headersSent", { configurable: true, enumerable: true, get });
    }
    this.#operations.push(() => method.apply(this.#response, args));
  }

  /** Lets those who wait for the head set their headers, as they would. */
  #beginHead(): void {
    if (!this.#hasHead) this.#response.writeHead(this.#response.statusCode);
  }

  /** Looks, at the end of this turn, whether the response goes on for longer than that. */
  #look(): void {
    if (this.#looking || this.#context.ending) return;
    this.#looking = true;
    setImmediate(() => {
      if (this.#open || this.#hasEnded) return;
      this.#context.ending = true;
      try {
        this.#hooks.save();
      } finally {
        this.#context.ending = false;
      }
      this.#looked = true;
      if (this.#context.saving === 0) this.#release();
    });
  }

  #release(): void {
    this.#open = true;
    const operations = this.#operations;
    this.#operations = [];
    if (this.#context.failure) return this.#fail(this.#context.failure);
    this.#hooks.headers();
    let taken: unknown = true;
    for (const operation of operations) taken = operation();
    if (this.#bytes < BUFFER_BYTES || this.#hasEnded) return;
    // Who was told to wait goes on. When the response is full now, it says so itself.
    if (taken !== true) return;
    for (const listener of this.#drains) listener.call(this.#response);
    if (this.#drains.length === 0) this.#response.emit("drain");
    this.#drains = [];
  }

  #fail(error: Error): void {
    const response = this.#response;
    for (const name of response.getHeaderNames()) response.removeHeader(name);
    const problem = {
      type: "urn:sidetalk:problem:session_not_saved",
      title: "The session could not be saved",
      status: 503,
      code: "session_not_saved",
    };
    response.setHeader("Content-Type", "application/problem+json");
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Retry-After", "1");
    this.#hooks.headers();
    this.#hooks.failed(error);
    // Past all that wants to add to the head of what failed.
    this.#writeHead.call(response, 503);
    this.#end.call(response, JSON.stringify(problem));
    this.#hasEnded = true;
    this.#failed = true;
  }
}

function sizeOf(chunk: unknown): number {
  return typeof chunk === "string" || chunk instanceof Uint8Array ? chunk.length : 0;
}
