// What a call is on the wire, alone or as a part of a batch.

/** Whether a call may be sent again when its answer was lost. */
export type Repeat =
  /** It changes nothing the second time. */
  | "free"
  /** It carries an `Idempotency-Key`, which the same process of the sidecar knows again. */
  | "keyed"
  | "never";

/** A call, ready to be sent. */
export interface Request {
  readonly method: string;
  /** With its query, percent-encoded. */
  readonly path: string;
  /** JSON. */
  readonly body?: string | undefined;
  /** What JSON it is. */
  readonly contentType?: string | undefined;
  /** Names in lower case. */
  readonly headers: Record<string, string>;
  /** Milliseconds from now until the call is given up. */
  readonly timeoutMillis: number;
  readonly repeat: Repeat;
  /**
   * Whether the sidecar may have to wait for others before it answers. `may`: it goes with others at first, without
   * waiting, and once more alone when that was not enough. `must`: it goes alone.
   */
  readonly waits: "never" | "may" | "must";
  /** How long it waits when it goes alone, if that is not in its path. */
  readonly waitMillis?: number | undefined;
}

/** An answer. */
export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Record<string, string>;
  /** What the JSON says; undefined without one. */
  readonly body: unknown;
}

// Anything else in a header could end it.
const VALUE = /^[\x20-\x7e]*$/;

/** Any JSON. */
export const JSON_TYPE = "application/json";
/** JSON Merge Patch (RFC 7396). */
export const MERGE_PATCH = "application/merge-patch+json";

/** The bytes of one request. `common`: the lines of the head that all requests have, each with its end. */
export function single(request: Request, common: string): string {
  const { method, path, headers, body, contentType, waits, waitMillis } = request;
  const target = waits === "may" ? waiting(path, waitMillis) : path;
  return http(method, target, headers, body, contentType, common);
}

/** The bytes of one request that holds many. */
export function batch(calls: readonly { readonly request: Request }[], common: string): string {
  // Joined at the end: a text that grows call by call is a tree of all its pieces, which has to be made flat.
  const parts = calls.map(({ request }) => part(request));
  return http("POST", "/v1/batch", NO_HEADERS, `{"ops":[${parts.join(",")}]}`, JSON_TYPE, common);
}

/** A call within a batch. */
function part({ method, path, headers, body, contentType, waits }: Request): string {
  let said = "";
  for (const name in headers) said += `${said === "" ? "" : ","}"${name}":"${inJson(headers[name] as string)}"`;
  // A body is JSON, and that of a PATCH a merge patch, unless something else is said.
  if (contentType !== undefined && contentType !== JSON_TYPE && contentType !== MERGE_PATCH) {
    said += `${said === "" ? "" : ","}"content-type":"${contentType}"`;
  }
  const wait = waits !== "may" ? "" : path.includes("?") ? "&wait=0" : "?wait=0";
  const named = `{"method":"${method}","path":"${inJson(path)}${wait}"`;
  return `${named}${said === "" ? "" : `,"headers":{${said}}`}${body === undefined ? "" : `,"body":${body}`}}`;
}

const NO_HEADERS = {};

/** Texts that stand in JSON as they are. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** A text as it stands in JSON, between the quotes. */
function inJson(text: string): string {
  return PLAIN.test(text) ? text : JSON.stringify(text).slice(1, -1);
}

function waiting(path: string, millis: number | undefined): string {
  return millis === undefined ? path : `${path}${path.includes("?") ? "&" : "?"}wait=${millis}`;
}

function http(
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string | undefined,
  contentType: string | undefined,
  common: string,
): string {
  let text = `${method} ${path} HTTP/1.1\r\n${common}`;
  for (const name in headers) {
    const value = headers[name] as string;
    if (!VALUE.test(value)) throw new TypeError(`the value of ${name} cannot stand in a header`);
    text += `${name}: ${value}\r\n`;
  }
  if (body === undefined) return method === "POST" ? `${text}content-length: 0\r\n\r\n` : `${text}\r\n`;
  const type = contentType ?? JSON_TYPE;
  return `${text}content-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** Reads the body of an answer: JSON or nothing. */
export function readBody(text: string): unknown {
  return text.length === 0 ? undefined : JSON.parse(text);
}

/** Whether an answer to a call that did not wait is not good enough: the call has to be made again, and wait. */
export function mustWait(request: Request, answer: Answer): boolean {
  if (answer.headers["sidetalk-behind"] !== "true") return false;
  // A change that was made is made; one that found nothing has changed nothing.
  return request.method === "GET" || request.method === "HEAD" || answer.status === 404;
}
