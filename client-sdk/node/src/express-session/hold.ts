// Holds a response back until the saves of its session have answered.
//
// There is one of these for each request: what it leads to lives as long as the request does, so it is one object, and
// what it puts in the place of the response's methods are the same functions for all.

/* eslint-disable @typescript-eslint/unbound-method -- taking methods off, and calling them as methods, is what this does */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TokenScope } from "../scope.js";
import { type RequestContext, within } from "../session-store/context.js";

/** What happens around held responses. */
export interface Hooks {
  /** Just before the headers leave. */
  headers(held: Held): void;
  /** The application has ended the response, and nothing of it has left: what is to be saved may be saved now. */
  saveAtEnd(held: Held): void;
  /** The response has begun and not ended: what is to be saved had better be saved now. */
  saveEarly(held: Held): void;
  /** A save has failed, and the browser is told so. */
  failed(held: Held, error: Error): void;
}

/** What Node buffers before it asks a writer to wait. */
const BUFFER_BYTES = 16 * 1024;

type Args = unknown[];
type Method = (this: ServerResponse, ...args: Args) => unknown;

const HELD = Symbol("sidetalk.held");
type Holding = ServerResponse & { [HELD]: Held };

// In the place of a response's methods. They are called as methods: by Node, and by all who wrap them in turn.

function writeHead(this: Holding, ...args: Args): ServerResponse {
  this[HELD].writeHead(args);
  return this;
}

function write(this: Holding, ...args: Args): boolean {
  return this[HELD].write(args);
}

function flushHeaders(this: Holding): void {
  this[HELD].flushHeaders();
}

function end(this: Holding, ...args: Args): ServerResponse {
  this[HELD].end(args);
  return this;
}

function outerEnd(this: Holding, ...args: Args): unknown {
  return this[HELD].outerEnd(args);
}

function on(this: Holding, ...args: Args): unknown {
  return this[HELD].on(args);
}

const HEADERS_SENT: PropertyDescriptor & ThisType<Holding> = {
  configurable: true,
  enumerable: true,
  get() {
    return this[HELD].begun;
  },
};

/**
 * Holds a response. Must be made before whatever saves wraps the response's methods in turn, and told of it by
 * {@link watchEnd}. What is written while a save is under way comes later, in order; what is written without one is not
 * held longer than to the end of this turn of the event loop.
 */
export class Held implements RequestContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly scope: TokenScope;
  saving = 0;
  ending = false;
  failure: Error | undefined = undefined;
  // No member is private to the language: that makes an object of so many members twenty times as dear to make.
  private readonly hooks: Hooks;
  private readonly innerWriteHead: Method;
  private readonly innerWrite: Method;
  private readonly innerFlushHeaders: Method;
  private readonly innerEnd: Method;
  private innerOn: Method | undefined = undefined;
  /** The `end` of whatever saves. */
  private savingEnd: Method | undefined = undefined;
  /** What the response was ended with, until what it has changed is saved. */
  private endsWith: Args | undefined = undefined;
  private operations: Operation[] | undefined = undefined;
  private bytes = 0;
  private drains: Method[] | undefined = undefined;
  private hasHead = false;
  private hasBegun = false;
  private hasEnded = false;
  /** Its time to be saved early has come. */
  private looked = false;
  private looking = false;
  /** Everything passes. */
  private open = false;
  /** It is answered already: what the application writes goes nowhere. */
  private dropped = false;

  constructor(request: IncomingMessage, response: ServerResponse, scope: TokenScope, hooks: Hooks) {
    this.request = request;
    this.response = response;
    this.scope = scope;
    this.hooks = hooks;
    this.innerWriteHead = response.writeHead as Method;
    this.innerWrite = response.write as Method;
    this.innerFlushHeaders = response.flushHeaders;
    this.innerEnd = response.end as Method;
    (response as Holding)[HELD] = this;
    response.writeHead = writeHead;
    response.write = write as ServerResponse["write"];
    response.flushHeaders = flushHeaders;
    response.end = end as ServerResponse["end"];
    if (Object.hasOwn(response, "on")) {
      // Somebody further in keeps listeners from the response.
      this.innerOn = response.on as Method;
      response.on = on as ServerResponse["on"];
    }
  }

  /** No save is under way. */
  private isFree(): boolean {
    return this.saving === 0;
  }

  /** Whatever saves at the end of a response stands in its place: goes around it. */
  watchEnd(): void {
    const saving = this.response.end as unknown;
    if (saving === end) return;
    this.savingEnd = saving as Method;
    this.response.end = outerEnd as ServerResponse["end"];
  }

  /** For the application the headers are sent, although they are still here. */
  get begun(): boolean {
    return (!this.open && this.hasBegun) || (this.response as unknown as { _header: unknown })._header != null;
  }

  /** The application ends the response. */
  outerEnd(args: Args): unknown {
    if (this.endsWith) return this.response;
    if (!this.open && !this.hasBegun && this.isFree()) {
      // Saved before whatever saves has begun to write: then the response goes out in one piece.
      this.saveBy(this.hooks.saveAtEnd);
      if (!this.isFree()) {
        this.endsWith = args;
        this.begin();
        return this.response;
      }
    }
    return this.saveAndEnd(args);
  }

  /** Within `end`, whatever saves does so by itself. */
  private saveAndEnd(args: Args): unknown {
    this.ending = true;
    try {
      return within(this, this.savingEnd as Method, this.response, args);
    } finally {
      this.ending = false;
    }
  }

  writeHead(args: Args): void {
    if (this.dropped) return;
    if (this.open) {
      this.innerWriteHead.apply(this.response, args);
      return;
    }
    // Those who look at `_header` write the head twice.
    if (this.hasHead) return;
    this.hasHead = true;
    this.keep(this.innerWriteHead, args);
    this.look();
  }

  write(args: Args): boolean {
    if (this.dropped || this.endsWith) return true;
    if (this.open) return this.innerWrite.apply(this.response, args) as boolean;
    this.beginHead();
    this.keep(this.innerWrite, args);
    this.bytes += sizeOf(args[0]);
    this.look();
    return this.bytes < BUFFER_BYTES;
  }

  flushHeaders(): void {
    if (this.dropped) return;
    if (this.open) {
      this.innerFlushHeaders.call(this.response);
      return;
    }
    this.beginHead();
    this.keep(this.innerFlushHeaders, []);
    this.look();
  }

  end(args: Args): void {
    if (this.dropped) return;
    if (this.open) {
      // The head has left with a success that it was not.
      if (this.failure) this.response.destroy(this.failure);
      else this.innerEnd.apply(this.response, args);
      return;
    }
    this.hasEnded = true;
    if (this.isFree() && !this.operations && !this.failure) {
      // As with most requests: nothing is held.
      this.open = true;
      this.hooks.headers(this);
      this.innerEnd.apply(this.response, args);
      return;
    }
    this.keep(this.innerEnd, args);
    if (this.isFree()) this.release();
  }

  /** What is to be called when there is room again. Others who hold the response may keep it from the response itself. */
  on(args: Args): unknown {
    if (args[0] === "drain" && !this.open) (this.drains ??= []).push(args[1] as Method);
    return (this.innerOn as Method).apply(this.response, args);
  }

  /** No save is under way any more. */
  settled(): void {
    if (this.open) return;
    const args = this.endsWith;
    if (args) {
      this.endsWith = undefined;
      if (this.failure) this.release();
      else this.saveAndEnd(args);
    } else if (this.hasEnded || this.looked) {
      this.release();
    }
  }

  private begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    Object.defineProperty(this.response, "headersSent", HEADERS_SENT);
  }

  private keep(method: Method, args: Args): void {
    this.begin();
    (this.operations ??= []).push({ method, args });
  }

  /** Lets those who wait for the head set their headers, as they would. */
  private beginHead(): void {
    if (!this.hasHead) this.response.writeHead(this.response.statusCode);
  }

  private saveBy(hook: (held: Held) => void): void {
    this.ending = true;
    try {
      hook.call(this.hooks, this);
    } finally {
      this.ending = false;
    }
  }

  /** Looks, at the end of this turn, whether the response goes on for longer than that. */
  private look(): void {
    if (this.looking || this.ending) return;
    this.looking = true;
    setImmediate(() => {
      if (this.open || this.hasEnded) return;
      this.saveBy(this.hooks.saveEarly);
      this.looked = true;
      if (this.isFree()) this.release();
    });
  }

  private release(): void {
    this.open = true;
    const operations = this.operations ?? [];
    this.operations = undefined;
    if (this.failure) return this.fail(this.failure);
    this.hooks.headers(this);
    let taken: unknown = true;
    for (const { method, args } of operations) taken = method.apply(this.response, args);
    if (this.bytes < BUFFER_BYTES || this.hasEnded) return;
    // Who was told to wait goes on. When the response is full now, it says so itself.
    if (taken !== true) return;
    if (this.drains) for (const listener of this.drains) listener.call(this.response);
    else this.response.emit("drain");
    this.drains = undefined;
  }

  private fail(error: Error): void {
    const { response } = this;
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
    this.hooks.headers(this);
    this.hooks.failed(this, error);
    // Past all that wants to add to the head of what failed.
    this.innerWriteHead.call(response, 503);
    this.innerEnd.call(response, JSON.stringify(problem));
    this.hasEnded = true;
    this.dropped = true;
  }
}

interface Operation {
  readonly method: Method;
  readonly args: Args;
}

function sizeOf(chunk: unknown): number {
  return typeof chunk === "string" || chunk instanceof Uint8Array ? chunk.length : 0;
}
