// From what a caller wants to a request, and from an answer to what the caller gets.

import { randomUUID } from "node:crypto";
import { type ProblemDocument, RefusedError, SidetalkError } from "./errors.js";
import { type Answer, JSON_TYPE, MERGE_PATCH, type Repeat, type Request } from "./transport/request.js";

/** The kinds of objects. */
export type Kind = "sessions" | "documents" | "counters" | "sets";

/** Any JSON. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** How a call is refined. */
export interface CallOptions {
  /** Gives the call up. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the call is given up; the client's default otherwise. What it waits for comes on top. */
  timeoutMillis?: number | undefined;
  /** How long the node may wait for tokens and for the answers of other nodes, in milliseconds (1000 by default). */
  waitMillis?: number | undefined;
  /** Further tokens of what must have been seen. */
  after?: readonly string[] | undefined;
}

/** How a read is refined. */
export interface ReadOptions extends CallOptions {
  /** An ETag of this node: the read fails with `not_modified` when the object still has it. */
  ifNoneMatch?: string | undefined;
}

/** How a write is refined. */
export interface WriteOptions extends CallOptions {
  /** How long the object lives on from now, in whole seconds. */
  ttlSeconds?: number | undefined;
  /** Change this life or nothing. */
  life?: string | undefined;
  /** An ETag of this node, or `*` for "only what lives". */
  ifMatch?: string | undefined;
  /** An ETag of this node, or `*` for "only create". */
  ifNoneMatch?: string | undefined;
  /** How many members must have applied the write before it is answered. */
  acks?: number | "majority" | "all" | undefined;
  /** How long to wait for them, in milliseconds (5000 by default). */
  acksTimeoutMillis?: number | undefined;
  /** POST and PATCH: a key of your own instead of one made up. `null` sends none, and the call is never repeated. */
  idempotencyKey?: string | null | undefined;
  /** Leave the object out of the answer. */
  minimal?: boolean | undefined;
}

/** What a node says to a call that it did. */
export interface Reply<T> {
  readonly status: number;
  readonly value: T;
  /** Names what was read or written: whoever sends it back sees at least that, on any node. */
  readonly token: string | undefined;
  /** The node could not catch up with the tokens that were sent, in time. */
  readonly behind: boolean;
  /** The life of a leased object: to be sent with changes that mean this one. */
  readonly life: string | undefined;
  /** How long a leased object lives on. */
  readonly expiresInSeconds: number | undefined;
  /** How many members have applied the write, when that was asked for. */
  readonly acks: number | undefined;
  /** For `ifMatch` and `ifNoneMatch` on the same node. */
  readonly etag: string | undefined;
}

/** One change of a part of a session or document. */
export type PathOp =
  | { op: "set"; path: readonly string[]; value: Json }
  | { op: "unset"; path: readonly string[] }
  | { op: "incr"; path: readonly string[]; by?: number }
  | { op: "add"; path: readonly string[]; member: string }
  | { op: "remove"; path: readonly string[]; member: string };

export { MERGE_PATCH };
/** A list of {@link PathOp}. */
export const PATH_OPS = "application/vnd.sidetalk.ops+json";

const WAIT_MILLIS_DEFAULT = 1_000;
const ACKS_TIMEOUT_MILLIS_DEFAULT = 5_000;

const PLAIN = /^[A-Za-z0-9_-]+$/;

/** One segment of a path. */
export function segment(text: string): string {
  if (PLAIN.test(text)) return text;
  if (text === "." || text === "..") return text.replaceAll(".", "%2E");
  try {
    return encodeURIComponent(text);
  } catch {
    throw new SidetalkError("bad_key", "a key with half a surrogate pair cannot be sent", { status: 400 });
  }
}

/** The path of an object. */
export function objectPath(kind: Kind, key: string): string {
  if (key.length === 0) throw new SidetalkError("bad_key", "a key must not be empty", { status: 400 });
  return `/v1/${kind}/${segment(key)}`;
}

/** What is sent, before options refine it. */
export interface Draft {
  readonly method: string;
  readonly path: string;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  readonly repeat: Repeat;
  /** Whether the sidecar may ask others about the object, or wait for tokens. */
  readonly asks: boolean;
}

/** Makes a request. `wait`: how long the node may wait when the options do not say. */
export function request(
  draft: Draft,
  options: WriteOptions,
  timeoutMillis: number,
  after: readonly string[],
  wait?: number,
): Request {
  const { ttlSeconds, waitMillis, acks, acksTimeoutMillis } = options;
  let query = "";
  if (ttlSeconds !== undefined) query += `&ttl=${ttlSeconds}`;
  if (waitMillis !== undefined) query += `&wait=${waitMillis}`;
  if (acks !== undefined) query += `&acks=${acks}`;
  if (acks !== undefined && acksTimeoutMillis !== undefined) query += `&timeout=${acksTimeoutMillis}`;
  let { path } = draft;
  if (query !== "") path += path.includes("?") ? query : `?${query.slice(1)}`;
  const headers: Record<string, string> = {};
  if (after.length > 0) headers["sidetalk-after"] = after.join(",");
  if (options.life !== undefined) headers["sidetalk-life"] = options.life;
  if (options.ifMatch !== undefined) headers["if-match"] = options.ifMatch;
  if (options.ifNoneMatch !== undefined) headers["if-none-match"] = options.ifNoneMatch;
  if (options.minimal) headers["prefer"] = "return=minimal";
  let repeat = draft.repeat;
  if (repeat === "keyed") {
    if (options.idempotencyKey === null) repeat = "never";
    else headers["idempotency-key"] = options.idempotencyKey ?? randomUUID();
  }
  const waitsForOthers = draft.asks || after.length > 0;
  const patience = waitsForOthers ? (waitMillis ?? wait ?? WAIT_MILLIS_DEFAULT) : 0;
  const acksPatience = acks === undefined ? 0 : (acksTimeoutMillis ?? ACKS_TIMEOUT_MILLIS_DEFAULT);
  const must = acks !== undefined || waitMillis !== undefined || (draft.method === "DELETE" && waitsForOthers);
  return {
    method: draft.method,
    path,
    body: draft.body,
    contentType: draft.body === undefined ? undefined : (draft.contentType ?? JSON_TYPE),
    headers,
    timeoutMillis: (options.timeoutMillis ?? timeoutMillis) + patience + acksPatience,
    repeat,
    waits: must ? "must" : waitsForOthers ? "may" : "never",
    waitMillis: wait,
  };
}

/**
 * Reads an answer.
 * @throws RefusedError for every status that is no success
 */
export function reply<T>(answer: Answer): Reply<T> {
  const { status, headers } = answer;
  if (status < 200 || status > 299) throw refusal(answer);
  const expires = headers["sidetalk-expires-in"];
  const acks = headers["sidetalk-acks"];
  return {
    status,
    value: answer.body as T,
    token: headers["sidetalk-token"],
    behind: headers["sidetalk-behind"] === "true",
    life: headers["sidetalk-life"],
    expiresInSeconds: expires === undefined ? undefined : Number(expires),
    acks: acks === undefined ? undefined : Number(acks),
    etag: headers["etag"],
  };
}

/** The error that an answer stands for. */
export function refusal(answer: Answer): RefusedError {
  const { status, headers } = answer;
  const behind = headers["sidetalk-behind"] === "true";
  const body = answer.body as ProblemDocument | null | undefined;
  const explained = typeof body === "object" && body !== null && typeof body.code === "string";
  // 304 has no body, nor has the answer to HEAD; and a proxy's answer is no problem document.
  const code = status === 304 ? "not_modified" : "unexplained";
  const problem = explained ? body : { code, detail: `status ${status}`, status };
  return new RefusedError(status, problem, behind, headers["sidetalk-token"]);
}
