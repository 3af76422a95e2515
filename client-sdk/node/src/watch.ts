// Watching: server-sent events as an async iterator that survives lost connections.

import { type IncomingMessage, request } from "node:http";
import { type Address, hostHeader } from "./address.js";
import { type Json, type Kind, refusal } from "./call.js";
import type { Credentials } from "./credentials.js";
import { RefusedError, SidetalkError } from "./errors.js";

/** The state of an object now. */
export interface ChangeEvent {
  readonly type: "change";
  readonly kind: Kind;
  readonly key: string;
  readonly state: "live" | "ended";
  /** Its content; `null` when it has ended. */
  readonly value: Json;
  readonly life: string | null;
  readonly token: string;
}

/** The node cannot go on where the watch was: forget what you know, the state of all keys follows. */
export interface ResetEvent {
  readonly type: "reset";
  readonly reason: string;
  readonly detail: string;
}

/** The state of all keys has been sent. */
export interface CurrentEvent {
  readonly type: "current";
}

export type WatchEvent = ChangeEvent | ResetEvent | CurrentEvent;

/** How a watch is set up. */
export interface WatchOptions {
  kind?: Kind | undefined;
  /** Only keys that begin with this. */
  prefix?: string | undefined;
  /** Start with the state of all keys. */
  initial?: boolean | undefined;
  /** Go on after this event of an earlier watch. */
  cursor?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Told when the watch is connected, and when it is not any more. */
  onState?: ((state: "connected" | "disconnected", error?: Error) => void) | undefined;
  /** Told where the watch is: `cursor` of a later one. */
  onCursor?: ((cursor: string) => void) | undefined;
}

const BACKOFF_MILLIS_MIN = 50;
const BACKOFF_MILLIS_MAX = 2_000;
/** A sidecar says every 15 seconds that it lives. */
const SILENCE_MILLIS_MAX = 40_000;

/** Watches for ever, or until the signal. */
export async function* watch(
  address: Address,
  credentials: Credentials,
  options: WatchOptions,
): AsyncGenerator<WatchEvent, void, undefined> {
  const { signal, onState } = options;
  let cursor = options.cursor;
  let backoff = BACKOFF_MILLIS_MIN;
  while (!signal?.aborted) {
    let stream: IncomingMessage | undefined;
    let failure: Error | undefined;
    try {
      stream = await open(address, credentials, options, cursor);
      onState?.("connected");
      for await (const event of parse(stream)) {
        if (event.data !== undefined) {
          const read = eventOf(event.name, event.data);
          if (read) yield read;
        }
        // After its event was taken: one that was not comes again.
        if (event.id !== undefined) {
          cursor = event.id;
          options.onCursor?.(cursor);
        }
        backoff = BACKOFF_MILLIS_MIN;
      }
    } catch (error) {
      if (isFinal(error) && !(isRefusal(error, 401) && credentials.reload())) throw error;
      failure = error as Error;
    } finally {
      stream?.destroy();
    }
    if (signal?.aborted) return;
    onState?.("disconnected", failure);
    await pause(backoff * (0.5 + Math.random() / 2), signal);
    backoff = Math.min(backoff * 2, BACKOFF_MILLIS_MAX);
  }
}

/** A request that is wrong stays wrong; a node that does not serve yet will. */
function isFinal(error: unknown): boolean {
  return error instanceof SidetalkError && "answered" in error && (error.answered as number) < 500;
}

function isRefusal(error: unknown, status: number): boolean {
  return error instanceof RefusedError && error.answered === status;
}

function pause(millis: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, millis);
    signal?.addEventListener("abort", done);
  });
}

function open(
  address: Address,
  credentials: Credentials,
  options: WatchOptions,
  cursor: string | undefined,
): Promise<IncomingMessage> {
  const query = new URLSearchParams();
  if (options.kind) query.set("kind", options.kind);
  if (options.prefix) query.set("prefix", options.prefix);
  if (options.initial && cursor === undefined) query.set("initial", "true");
  const text = query.toString();
  const headers: Record<string, string> = { host: hostHeader(address), accept: "text/event-stream" };
  if (credentials.authorization !== undefined) headers["authorization"] = credentials.authorization;
  if (cursor !== undefined) headers["last-event-id"] = cursor;
  const where = "path" in address ? { socketPath: address.path } : { host: address.host, port: address.port };
  return new Promise((resolve, reject) => {
    const asked = request({
      ...where,
      path: `/v1/watch${text ? `?${text}` : ""}`,
      headers,
      agent: false,
      ...(options.signal ? { signal: options.signal } : {}),
    });
    asked.on("error", reject);
    asked.setTimeout(SILENCE_MILLIS_MAX, () => asked.destroy(new Error("the sidecar has fallen silent")));
    asked.on("response", (answer) => {
      if (answer.statusCode === 200) return resolve(answer);
      let body = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => (body += chunk));
      answer.on("error", reject);
      answer.on("end", () => {
        let problem: unknown;
        try {
          problem = JSON.parse(body);
        } catch {
          // Then the status alone has to say it.
        }
        reject(refusal({ status: answer.statusCode ?? 0, headers: {}, body: problem }));
      });
    });
    asked.end();
  });
}

interface ServerSent {
  readonly id: string | undefined;
  readonly name: string;
  readonly data: string | undefined;
}

async function* parse(stream: IncomingMessage): AsyncGenerator<ServerSent, void, undefined> {
  stream.setEncoding("utf8");
  let held = "";
  for await (const chunk of stream as AsyncIterable<string>) {
    held += chunk;
    let from = 0;
    for (let end = held.indexOf("\n\n"); end >= 0; end = held.indexOf("\n\n", from)) {
      yield block(held.slice(from, end));
      from = end + 2;
    }
    held = held.slice(from);
  }
}

function block(text: string): ServerSent {
  let id: string | undefined;
  let name = "message";
  let data: string | undefined;
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    // A comment.
    if (colon === 0) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "id") id = value;
    else if (field === "event") name = value;
    else if (field === "data") data = data === undefined ? value : `${data}\n${value}`;
  }
  return { id, name, data };
}

function eventOf(name: string, data: string): WatchEvent | undefined {
  // Names that we do not know may come with a later version.
  if (name !== "change" && name !== "reset" && name !== "current") return undefined;
  return { ...(JSON.parse(data) as object), type: name } as WatchEvent;
}
