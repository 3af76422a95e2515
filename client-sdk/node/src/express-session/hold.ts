// Holds a response back until the saves of its session have answered.
//
// There is one of these for each request: what it leads to lives as long as the request does, so it is one object.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { TokenScope } from "../scope.js";
import { type RequestContext, within } from "../session-store/context.js";
import { type Args, begin, endOf, Holder, hook, type Inner, type Method, placeEnd, settle } from "./methods.js";
import type { TokenCookie } from "./token-cookies.js";

/** What happens around held responses. */
export interface Hooks {
  /** Just before the headers leave. */
  headers(held: Held): void;
  /** The response has begun and not ended: what is to be saved had better be saved now. */
  saveEarly(held: Held): void;
  /** A save has failed, and the browser is told so. */
  failed(held: Held, error: Error): void;
}

/** What Node buffers before it asks a writer to wait. */
const BUFFER_BYTES = 16 * 1024;

/**
 * Holds a response. Must be made before whatever saves wraps the response's methods in turn, and told of it by
 * {@link watchEnd}. What is written while a save is under way comes later, in order; what is written without one is not
 * held longer than to the end of this turn of the event loop.
 */
export class Held extends Holder implements RequestContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly scope: TokenScope;
  /** What the browser has brought. */
  readonly brought: readonly TokenCookie[];
  saving = 0;
  ending = false;
  failure: Error | undefined = undefined;
  // No member is private to the language: that makes an object of so many members twenty times as dear to make.
  private readonly hooks: Hooks;
  private readonly inner: Inner;
  /** The `end` of whatever saves. */
  private savingEnd: Method | undefined = undefined;
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

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    scope: TokenScope,
    brought: readonly TokenCookie[],
    hooks: Hooks,
  ) {
    super();
    this.request = request;
    this.response = response;
    this.scope = scope;
    this.brought = brought;
    this.hooks = hooks;
    this.inner = hook(this);
  }

  /** No save is under way. */
  private isFree(): boolean {
    return this.saving === 0;
  }

  /** Whatever saves at the end of a response stands in its place: goes around it. */
  watchEnd(): void {
    // Whoever calls the next one twice would have it end in itself.
    if (this.savingEnd) return;
    const saving = endOf(this);
    if (saving === this.plainEnd) return;
    this.savingEnd = saving as Method;
    placeEnd(this, (...args: Args) => this.saveAndEnd(args));
  }

  /** For the application the headers are sent, although they are still here. */
  get begun(): boolean {
    return (!this.open && this.hasBegun) || (this.response as unknown as { _header: unknown })._header != null;
  }

  /** Within `end`, whatever saves does so by itself. */
  private saveAndEnd(args: Args): unknown {
    this.ending = true;
    try {
      return within(this, this.savingEnd as Method, this.response, args);
    } catch (error) {
      // The browser has been told of it already.
      if (this.dropped) return this.response;
      throw error;
    } finally {
      this.ending = false;
    }
  }

  writeHead(args: Args): void {
    if (this.dropped) return;
    if (this.open) {
      this.inner.writeHead.apply(this.response, args);
      return;
    }
    // Those who look at `_header` write the head twice.
    if (this.hasHead) return;
    this.hasHead = true;
    this.keep("writeHead", args);
    this.look();
  }

  write(args: Args): boolean {
    if (this.dropped) return true;
    if (this.open) return this.inner.write.apply(this.response, args) as boolean;
    this.beginHead();
    this.keep("write", args);
    this.bytes += sizeOf(args[0]);
    this.look();
    return this.bytes < BUFFER_BYTES;
  }

  flushHeaders(): void {
    if (this.dropped) return;
    if (this.open) {
      this.inner.flushHeaders.call(this.response);
      return;
    }
    this.beginHead();
    this.keep("flushHeaders", []);
    this.look();
  }

  end(args: Args): void {
    if (this.dropped) return;
    if (this.open) {
      // The head has left with a success that it was not.
      if (this.failure) this.response.destroy(this.failure);
      else this.inner.end.apply(this.response, args);
      settle(this);
      return;
    }
    this.hasEnded = true;
    if (this.isFree() && !this.operations && !this.failure) {
      // As with most requests: nothing is held.
      this.open = true;
      this.hooks.headers(this);
      this.inner.end.apply(this.response, args);
      // Nothing has to lead to it any more.
      settle(this);
      return;
    }
    this.keep("end", args);
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
    if (this.hasEnded || this.looked) this.release();
  }

  private begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    begin(this);
  }

  private keep(name: Operation["name"], args: Args): void {
    this.begin();
    (this.operations ??= []).push({ name, args });
  }

  /** Lets those who wait for the head set their headers, as they would. */
  private beginHead(): void {
    if (!this.hasHead) this.response.writeHead(this.response.statusCode);
  }

  private saveEarly(): void {
    this.ending = true;
    try {
      this.hooks.saveEarly(this);
    } catch (error) {
      // Nobody is there to catch it: the response says so, as with any save that fails.
      this.failure ??= error instanceof Error ? error : new Error(String(error));
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
      this.saveEarly();
      this.looked = true;
      if (this.isFree()) this.release();
    });
  }

  private release(): void {
    this.open = true;
    const kept = this.operations ?? [];
    this.operations = undefined;
    if (this.failure) return this.fail(this.failure);
    this.hooks.headers(this);
    const operations = this.hasEnded ? inOnePiece(kept, this.response) : kept;
    let taken: unknown = true;
    const { inner, response } = this;
    for (const { name, args } of operations) taken = inner[name].apply(response, args);
    if (this.hasEnded) settle(this);
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
    this.inner.writeHead.call(response, 503);
    this.inner.end.call(response, JSON.stringify(problem));
    this.hasEnded = true;
    this.dropped = true;
  }
}

interface Operation {
  readonly name: keyof Inner;
  readonly args: Args;
}

/**
 * Whatever saves within `end` writes the response but for its end, and ends it when it has saved: two writes, and in
 * chunks when nobody has said its length. Held to its end, it goes out as if it had been ended with all of it.
 */
function inOnePiece(operations: Operation[], response: ServerResponse): Operation[] {
  const [first, second, third] = operations;
  const head = first?.name === "writeHead" ? first : undefined;
  const [body, end] = head ? [second, third] : [first, second];
  if (operations.length !== (head ? 3 : 2) || body?.name !== "write" || end?.name !== "end") return operations;
  const args = joined(body.args, end.args);
  if (!args) return operations;
  const whole: Operation = { name: "end", args };
  if (!head) return [whole];
  // Node can say the length only when it writes the head by itself.
  const isImplicit = head.args.length === 1 && head.args[0] === response.statusCode;
  return isImplicit && !response.hasHeader("content-length") ? [whole] : [head, whole];
}

/** The arguments of an `end` that does the same. */
function joined([chunk, encoding, called]: Args, [rest, ...others]: Args): Args | undefined {
  if (typeof encoding === "function" || called !== undefined) return undefined;
  if (others.some((other) => other !== undefined)) return undefined;
  if (rest === undefined) return [chunk, encoding];
  if (!Buffer.isBuffer(chunk) || !Buffer.isBuffer(rest)) return undefined;
  const isNext = chunk.buffer === rest.buffer && chunk.byteOffset + chunk.length === rest.byteOffset;
  const length = chunk.length + rest.length;
  return [isNext ? Buffer.from(chunk.buffer, chunk.byteOffset, length) : Buffer.concat([chunk, rest])];
}

function sizeOf(chunk: unknown): number {
  return typeof chunk === "string" || chunk instanceof Uint8Array ? chunk.length : 0;
}
