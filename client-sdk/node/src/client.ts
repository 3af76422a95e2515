// The client of one sidecar.

import { DEFAULT_ADDRESS, formatAddress, parseAddress } from "./address.js";
import {
  type CallOptions,
  type Draft,
  type Json,
  type Kind,
  reply,
  type Reply,
  request,
  type WriteOptions,
} from "./call.js";
import { Credentials } from "./credentials.js";
import { RefusedError } from "./errors.js";
import { LiveObject, type LiveOptions } from "./live/live.js";
import { type Caller, Counter, Document, Session, StringSet } from "./objects.js";
import { ProcessTokens, type TokenKeeper, TokenScope } from "./scope.js";
import { Transport } from "./transport/transport.js";
import { watch, type WatchEvent, type WatchOptions } from "./watch.js";

/** How a client is set up. */
export interface SidetalkOptions {
  /**
   * Where the sidecar listens: `unix:PATH`, `http://HOST:PORT` or `HOST:PORT`. The environment's `SIDETALK_API`
   * otherwise, or `http://127.0.0.1:7411`.
   */
  api?: string | undefined;
  /** The token for a sidecar that runs with `--api-token-file`. */
  apiToken?: string | undefined;
  /**
   * A file that holds the token: its first line that is neither empty nor a comment. Read again when the sidecar refuses
   * what it held. The environment's `SIDETALK_API_TOKEN_FILE` otherwise, if it is set.
   */
  apiTokenFile?: string | undefined;
  /** Milliseconds until a call is given up. What it waits for on the node's side comes on top. Default 3000. */
  timeoutMillis?: number | undefined;
  /** Milliseconds a connection may take to stand. Default 1000. */
  connectTimeoutMillis?: number | undefined;
  /** Connections at once. One or two are in use as long as nothing waits. Default 128. */
  connectionsMax?: number | undefined;
}

const TIMEOUT_MILLIS_DEFAULT = 3_000;
const CONNECT_TIMEOUT_MILLIS_DEFAULT = 1_000;
const CONNECTIONS_MAX_DEFAULT = 128;

/** A page of keys. */
export interface Keys {
  readonly keys: string[];
  /** Where the next page begins; `null` at the end. */
  readonly next: string | null;
}

/** Makes calls, with a scope's tokens. Everything a {@link Sidetalk} does is here. */
export class Talk implements Caller {
  /** @internal */
  readonly transport: Transport;
  /** Milliseconds until a call is given up. */
  readonly timeoutMillis: number;
  readonly #tokens: TokenKeeper;

  /** @internal */
  constructor(transport: Transport, timeoutMillis: number, tokens: TokenKeeper) {
    this.transport = transport;
    this.timeoutMillis = timeoutMillis;
    this.#tokens = tokens;
  }

  /** The sidecar's address. */
  get api(): string {
    return formatAddress(this.transport.address);
  }

  /** A session. */
  session<T extends object = Record<string, Json>>(id: string): Session<T> {
    return new Session<T>(this, id);
  }

  /** A document. */
  document<T extends object = Record<string, Json>>(name: string): Document<T> {
    return new Document<T>(this, name);
  }

  /** A counter. */
  counter(name: string): Counter {
    return new Counter(this, name);
  }

  /** A set of strings. */
  set(name: string): StringSet {
    return new StringSet(this, name);
  }

  /** Makes a call for an object, or any other. Calls made in one turn of the event loop go out in one round trip. */
  async call<T>(object: string, draft: Draft, options: WriteOptions = {}): Promise<Reply<T>> {
    // Only what is about an object waits for tokens; the node refuses the others when they are told how long.
    const kept = OBJECT.test(object) ? this.#tokens.before(object) : [];
    const sent = options.after === undefined ? kept : [...new Set([...kept, ...options.after])];
    const made = request(draft, options, this.timeoutMillis, sent);
    const answer = await this.transport.call(made, options.signal);
    const { headers, status } = answer;
    const wrote = draft.method !== "GET" && draft.method !== "HEAD" && (status < 300 || status === 504);
    const seen = { token: headers["sidetalk-token"], behind: headers["sidetalk-behind"] === "true", wrote };
    this.#tokens.after(object, sent, seen);
    return reply<T>(answer);
  }

  /** A page of the keys of a kind. */
  async list(
    kind: Kind,
    options: CallOptions & { prefix?: string; after?: never; limit?: number; from?: string } = {},
  ): Promise<Keys> {
    const { prefix, limit, from, ...rest } = options;
    const query = new URLSearchParams();
    if (prefix) query.set("prefix", prefix);
    if (limit !== undefined) query.set("limit", String(limit));
    if (from !== undefined) query.set("after", from);
    const text = query.toString();
    const path = `/v1/${kind}${text ? `?${text}` : ""}`;
    const page = await this.call<{ keys: string[]; next?: string | null }>(path, read(path), rest);
    return { keys: page.value.keys, next: page.value.next ?? null };
  }

  /** All keys of a kind, page after page. */
  async *keys(kind: Kind, prefix = "", options: CallOptions = {}): AsyncGenerator<string, void, undefined> {
    let from: string | undefined;
    do {
      const { after: _, ...rest } = options;
      const page = await this.list(kind, {
        ...rest,
        prefix,
        limit: 1_000,
        ...(from === undefined ? {} : { from }),
      });
      yield* page.keys;
      from = page.next ?? undefined;
    } while (from !== undefined);
  }

  /** How the node is. */
  async status(options: CallOptions = {}): Promise<Record<string, Json>> {
    return (await this.call<Record<string, Json>>("/v1/status", read("/v1/status"), options)).value;
  }

  /** The members of the cluster as the node sees them. */
  async cluster(options: CallOptions = {}): Promise<{ members: { node: string; state: string }[] }> {
    return (
      await this.call<{ members: { node: string; state: string }[] }>("/v1/cluster", read("/v1/cluster"), options)
    ).value;
  }

  /** Whether the node serves. */
  async ready(options: CallOptions = {}): Promise<boolean> {
    try {
      await this.call("/readyz", read("/readyz"), options);
      return true;
    } catch (error) {
      if (error instanceof RefusedError) return false;
      throw error;
    }
  }
}

/** The path of an object. */
const OBJECT = /^\/v1\/(sessions|documents|counters|sets)\/./;

function read(path: string): Draft {
  return { method: "GET", path, repeat: "free", asks: false };
}

/** A client of the sidecar on this host. One for each process is enough. */
export class Sidetalk extends Talk {
  readonly #stop = new AbortController();

  constructor(options: SidetalkOptions | string = {}) {
    const given = typeof options === "string" ? { api: options } : options;
    const address = parseAddress(given.api ?? (process.env["SIDETALK_API"] || DEFAULT_ADDRESS));
    const transport = new Transport({
      address,
      connectTimeoutMillis: given.connectTimeoutMillis ?? CONNECT_TIMEOUT_MILLIS_DEFAULT,
      connectionsMax: given.connectionsMax ?? CONNECTIONS_MAX_DEFAULT,
      credentials: new Credentials({
        apiToken: given.apiToken,
        apiTokenFile: given.apiTokenFile ?? (process.env["SIDETALK_API_TOKEN_FILE"] || undefined),
      }),
    });
    const timeoutMillis = given.timeoutMillis ?? TIMEOUT_MILLIS_DEFAULT;
    super(transport, timeoutMillis, new ProcessTokens(() => transport.epoch));
  }

  /**
   * The same client for one user's doings: every call made with what this gives sees what the calls before it saw.
   * Hand `scope.tokens` to whoever goes on elsewhere.
   */
  scoped(tokens: Iterable<string> | TokenScope = []): Talk & { readonly scope: TokenScope } {
    const scope = tokens instanceof TokenScope ? tokens : new TokenScope(tokens);
    return Object.assign(new Talk(this.transport, this.timeoutMillis, scope), { scope });
  }

  /** What changes, as it changes. Goes on after a lost connection where it was. Ends with its signal, or `close`. */
  watch(options: WatchOptions = {}): AsyncIterableIterator<WatchEvent> {
    const { signal } = options;
    const both = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    const { address, credentials } = this.transport;
    return watch(address, credentials, { ...options, signal: both });
  }

  /** Mirrors a document in this process: `talk.live("config")`. Resolves when its state is known. */
  live<T extends object = Record<string, Json>>(name: string, options?: LiveOptions): Promise<LiveObject<T>> {
    return LiveObject.open<T>(this, name, options);
  }

  /** Ends all connections and watches. */
  close(): void {
    this.#stop.abort();
    this.transport.close();
  }
}
