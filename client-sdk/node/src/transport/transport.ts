// From calls to round trips: what is called in one turn of the event loop goes out together.

import { type Address, formatAddress, hostHeader } from "../address.js";
import type { Credentials } from "../credentials.js";
import { BrokenError, SidetalkError, TimeoutError, UnreachableError } from "../errors.js";
import { Connection, type Exchange, type Owner } from "./connection.js";
import type { RawAnswer } from "./http1.js";
import { type Answer, batch, mustWait, readBody, type Request, single } from "./request.js";

/** How the transport behaves. */
export interface TransportSettings {
  readonly address: Address;
  /** How long a connection may take to stand. */
  readonly connectTimeoutMillis: number;
  /** Connections at once. */
  readonly connectionsMax: number;
  readonly credentials: Credentials;
}

/** Calls in one batch: far below what a sidecar takes, so that the first answers need not wait for the last. */
const BATCH_CALLS_MAX = 128;
/** Bytes of bodies in one batch; a sidecar takes a mebibyte in all. */
const BATCH_BYTES_MAX = 512 * 1024;
/** While so many batches are under way, calls wait a moment for one of them to end: fewer, fuller batches cost less. */
const BATCHES_EAGER = 2;
/** How long that moment is. */
const PATIENCE_MILLIS = 3;
/** How often time limits are looked at. */
const SWEEP_MILLIS = 50;

/** A call under way. */
interface Pending {
  readonly request: Request;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  readonly deadline: number;
  readonly since: number;
  /** Goes alone. */
  alone: boolean;
  settled: boolean;
  repeated: boolean;
  /** Takes the listener off the signal. */
  release: (() => void) | undefined;
}

/** A pool of connections to one sidecar. */
export class Transport implements Owner {
  readonly #settings: TransportSettings;
  /** The lines of the head that all requests have. */
  #common = "";
  readonly #name: string;
  readonly #open = new Set<Connection>();
  readonly #idle: Connection[] = [];
  readonly #busy = new Map<Connection, Pending[]>();
  #queue: Pending[] = [];
  #scheduled = false;
  #hurry: NodeJS.Timeout | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;
  #epoch = 0;

  constructor(settings: TransportSettings) {
    this.#settings = settings;
    this.#writeCommon();
    this.#name = formatAddress(settings.address);
  }

  /** Where the sidecar is. */
  get address(): Address {
    return this.#settings.address;
  }

  /** What a sidecar is shown that wants a token. */
  get credentials(): Credentials {
    return this.#settings.credentials;
  }

  #writeCommon(): void {
    const { address, credentials } = this.#settings;
    const { authorization } = credentials;
    const shown = authorization === undefined ? "" : `authorization: ${authorization}\r\n`;
    this.#common = `host: ${hostHeader(address)}\r\n${shown}`;
  }

  /** Grows whenever a connection was lost: the sidecar may be another process since. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Makes a call. Resolves with any answer, whatever its status. */
  call(request: Request, signal?: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new SidetalkError("closed", "the client was closed"));
      if (signal?.aborted) return reject(abortReason(signal));
      const since = performance.now();
      const pending: Pending = {
        request,
        resolve,
        reject,
        since,
        deadline: since + request.timeoutMillis,
        alone: request.waits === "must",
        settled: false,
        repeated: false,
        release: undefined,
      };
      if (signal) {
        const abort = () => this.#abandon(pending, abortReason(signal));
        signal.addEventListener("abort", abort, { once: true });
        pending.release = () => signal.removeEventListener("abort", abort);
      }
      this.#enqueue(pending);
    });
  }

  /** Ends all connections. Calls under way fail. */
  close(): void {
    this.#closed = true;
    for (const pending of this.#queue.splice(0)) {
      settle(pending)?.reject(new SidetalkError("closed", "the client was closed"));
    }
    for (const connection of [...this.#open]) connection.destroy();
    clearInterval(this.#sweeper);
    clearTimeout(this.#hurry);
  }

  #enqueue(pending: Pending): void {
    this.#queue.push(pending);
    this.#schedule();
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MILLIS).unref();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After all that has come in with this turn of the event loop.
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush(BATCHES_EAGER);
    });
  }

  #flush(batchesMax: number): void {
    while (this.#queue.length > 0) {
      // What goes alone may wait long: it must not wait for the others, nor they for it.
      const isFree = this.#queue[0]?.alone === true || this.#batches() < batchesMax;
      const connection = isFree ? this.#connection() : undefined;
      if (!connection) {
        this.#hurry ??= setTimeout(() => {
          this.#hurry = undefined;
          this.#flush(this.#settings.connectionsMax);
        }, PATIENCE_MILLIS);
        return;
      }
      const calls = this.#take();
      if (calls.length > 0) this.#send(connection, calls);
      else this.#idle.push(connection);
    }
  }

  /**
   * Batches under way, and calls that no more wait within the sidecar than those do. Not their connections: once there are
   * more of those, they stay.
   */
  #batches(): number {
    let count = 0;
    for (const calls of this.#busy.values()) {
      if (calls.length > 1 || calls[0]?.request.waits === "never") count++;
    }
    return count;
  }

  #connection(): Connection | undefined {
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      if (idle.usable) return idle;
    }
    if (this.#open.size >= this.#settings.connectionsMax) return undefined;
    const connection = new Connection(this.#settings.address, this.#settings.connectTimeoutMillis, this);
    this.#open.add(connection);
    return connection;
  }

  /** The next calls that go together. */
  #take(): Pending[] {
    const calls: Pending[] = [];
    let bytes = 0;
    let at = 0;
    for (; at < this.#queue.length && calls.length < BATCH_CALLS_MAX; at++) {
      const pending = this.#queue[at] as Pending;
      if (pending.settled) continue;
      if (pending.alone) {
        if (calls.length > 0) break;
        at++;
        calls.push(pending);
        break;
      }
      bytes += pending.request.body?.length ?? 0;
      if (calls.length > 0 && bytes > BATCH_BYTES_MAX) break;
      calls.push(pending);
    }
    this.#queue = at === this.#queue.length ? [] : this.#queue.slice(at);
    return calls;
  }

  #send(connection: Connection, calls: Pending[]): void {
    const [first] = calls as [Pending];
    const alone = calls.length === 1;
    let text;
    try {
      text = alone ? single(first.request, this.#common) : batch(calls, this.#common);
    } catch (error) {
      for (const pending of calls) settle(pending)?.reject(error as Error);
      this.idle(connection);
      return;
    }
    this.#busy.set(connection, calls);
    const exchange: Exchange = {
      text,
      head: alone && first.request.method === "HEAD",
      answered: (answer) => {
        if (answer.status === 401 && this.#showsAnother(calls)) return;
        if (alone) this.#one(first, answer);
        else this.#many(calls, answer);
      },
      broken: (sent, cause) => this.#broken(calls, sent, cause),
    };
    connection.send(exchange);
  }

  idle(connection: Connection): void {
    this.#busy.delete(connection);
    if (connection.usable) this.#idle.push(connection);
    if (this.#queue.length > 0) this.#schedule();
  }

  closed(connection: Connection): void {
    this.#epoch++;
    this.#open.delete(connection);
    this.#busy.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#queue.length > 0) this.#schedule();
  }

  /** Whether there is a new token to show. Then the calls, none of which was made, are made again. */
  #showsAnother(calls: Pending[]): boolean {
    if (!this.#settings.credentials.reload()) return false;
    this.#writeCommon();
    for (const pending of calls) if (!pending.settled) this.#enqueue(pending);
    return true;
  }

  #one(pending: Pending, raw: RawAnswer): void {
    const open = settle(pending);
    if (!open) return;
    try {
      open.resolve({ status: raw.status, headers: raw.headers, body: readJson(raw) });
    } catch (error) {
      open.reject(unintelligible(error));
    }
  }

  #many(calls: Pending[], raw: RawAnswer): void {
    let results: Answer[];
    try {
      const body = readJson(raw) as { results?: Answer[]; code?: string; detail?: string } | undefined;
      if (raw.status !== 200 || body?.results?.length !== calls.length) {
        throw new SidetalkError(
          body?.code ?? "batch_refused",
          body?.detail ?? `the batch was answered ${raw.status}`,
        );
      }
      results = body.results;
    } catch (error) {
      const reason = error instanceof SidetalkError ? error : unintelligible(error);
      for (const pending of calls) settle(pending)?.reject(reason);
      return;
    }
    for (let at = 0; at < calls.length; at++) {
      const pending = calls[at] as Pending;
      const answer = results[at] as Answer;
      if (pending.request.waits === "may" && mustWait(pending.request, answer) && !pending.settled) {
        pending.alone = true;
        this.#enqueue(pending);
      } else {
        settle(pending)?.resolve(answer);
      }
    }
  }

  #broken(calls: Pending[], sent: boolean, cause: Error | undefined): void {
    for (const pending of calls) {
      const { repeat, method } = pending.request;
      if (pending.settled) continue;
      if (!sent) {
        settle(pending)?.reject(new UnreachableError(this.#name, cause ?? new Error("the connection was closed")));
      } else if (this.#closed || pending.repeated || repeat === "never") {
        const uncertain = method !== "GET" && method !== "HEAD";
        settle(pending)?.reject(new BrokenError(this.#name, uncertain, cause));
      } else {
        pending.repeated = true;
        if (repeat === "free") this.#enqueue(pending);
        else void this.#repeatKeyed(pending, cause);
      }
    }
  }

  /** A key is remembered by one process only: a new one at the same address would count twice. */
  async #repeatKeyed(pending: Pending, cause: Error | undefined): Promise<void> {
    const sentAt = Date.now() - (performance.now() - pending.since);
    try {
      const request: Request = {
        method: "GET",
        path: "/v1/status",
        headers: {},
        timeoutMillis: Math.max(1, pending.deadline - performance.now()),
        repeat: "never",
        waits: "must",
      };
      const { body } = await this.call(request);
      const started = (body as { started_unix_millis?: number } | undefined)?.started_unix_millis;
      if (typeof started === "number" && started < sentAt) {
        this.#enqueue(pending);
        return;
      }
    } catch {
      // Then the call has failed as it did.
    }
    settle(pending)?.reject(new BrokenError(this.#name, true, cause));
  }

  #abandon(pending: Pending, reason: Error): void {
    if (!settle(pending)) return;
    pending.reject(reason);
    this.#dropIfAbandoned();
  }

  /** A connection on which nobody waits any more is of no use until the sidecar answers. */
  #dropIfAbandoned(): void {
    for (const [connection, calls] of [...this.#busy]) {
      if (calls.every((pending) => pending.settled)) connection.destroy();
    }
  }

  #sweep(): void {
    const now = performance.now();
    const look = (pending: Pending, sent: boolean) => {
      if (pending.settled || now < pending.deadline) return 0;
      const { method, timeoutMillis } = pending.request;
      const uncertain = sent && method !== "GET" && method !== "HEAD";
      settle(pending)?.reject(new TimeoutError(this.#name, timeoutMillis, uncertain));
      return 1;
    };
    let late = 0;
    for (const pending of this.#queue) late += look(pending, false);
    for (const calls of this.#busy.values()) for (const pending of calls) late += look(pending, true);
    if (late > 0) {
      this.#queue = this.#queue.filter((pending) => !pending.settled);
      this.#dropIfAbandoned();
    }
    if (this.#queue.length === 0 && this.#busy.size === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
  }
}

function settle(pending: Pending): Pending | undefined {
  if (pending.settled) return undefined;
  pending.settled = true;
  pending.release?.();
  return pending;
}

function readJson(raw: RawAnswer): unknown {
  const type = raw.headers["content-type"];
  // What a proxy says in HTML is nothing that we understand.
  return type === undefined || type.includes("json") ? readBody(raw.body) : undefined;
}

function unintelligible(cause: unknown): SidetalkError {
  return new SidetalkError("not_a_sidecar", "the answer cannot be understood", { cause });
}

function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new SidetalkError("aborted", "the call was aborted");
}
