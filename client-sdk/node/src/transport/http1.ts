// The little of HTTP/1.1 that a sidecar speaks: one answer at a time on a connection, with a length or in chunks.

import { SidetalkError } from "../errors.js";

/** One answer. */
export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. Of a header that stands twice, the last. */
  readonly headers: Record<string, string>;
  readonly body: string;
}

const HEAD_END = Buffer.from("\r\n\r\n");
/** The head of nearly every answer: to a batch, by a sidecar and nobody between. */
const USUAL =
  /^HTTP\/1\.1 200 OK\r\ncontent-type: application\/json\r\ncontent-length: (\d{1,7})\r\ndate: [^\r]+$/;
const USUAL_HEADERS: Record<string, string> = Object.freeze({ "content-type": "application/json" });
const HEAD_BYTES_MAX = 256 * 1024;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Reads answers from the bytes of a connection. Takes one answer, then waits for {@link expect} again. */
export class AnswerReader {
  #held: Buffer | undefined;
  #status = 0;
  #headers: Record<string, string> = {};
  /** Bytes of body to come; -1: the head is not complete; -2: chunks. */
  #length = -1;
  #bodyless = false;

  /** Says whether the next answer is one to HEAD, which has no body whatever its headers say. */
  expect(head: boolean): void {
    this.#bodyless = head;
  }

  /**
   * Takes bytes. Gives the answer when it is complete.
   * @throws SidetalkError when this is no HTTP
   */
  push(chunk: Buffer): RawAnswer | undefined {
    const bytes = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = undefined;
    let rest = bytes;
    if (this.#length === -1) {
      const end = bytes.indexOf(HEAD_END);
      if (end < 0) {
        if (bytes.length > HEAD_BYTES_MAX) throw malformed("the head of the answer does not end");
        this.#held = bytes;
        return undefined;
      }
      this.#readHead(bytes.toString("latin1", 0, end));
      rest = bytes.subarray(end + 4);
    }
    return this.#length === -2 ? this.#readChunks(rest) : this.#readLength(rest);
  }

  /** Whether a part of an answer has come. */
  get begun(): boolean {
    return this.#held !== undefined || this.#length !== -1;
  }

  #readHead(head: string): void {
    const usual = this.#bodyless ? null : USUAL.exec(head);
    if (usual) {
      this.#status = 200;
      this.#headers = USUAL_HEADERS;
      this.#length = Number(usual[1]);
      return;
    }
    const lines = head.split("\r\n");
    const first = lines[0] ?? "";
    const status = Number(first.slice(9, 12));
    if (!first.startsWith("HTTP/1.") || !(status >= 200 && status <= 599)) throw malformed("this is no answer");
    const headers: Record<string, string> = {};
    for (let at = 1; at < lines.length; at++) {
      const line = lines[at] as string;
      const colon = line.indexOf(":");
      if (colon <= 0) throw malformed("this is no header");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    this.#status = status;
    this.#headers = headers;
    if (this.#bodyless || status === 204 || status === 304) {
      this.#length = 0;
    } else if (headers["transfer-encoding"]?.toLowerCase() === "chunked") {
      this.#length = -2;
    } else {
      const length = Number(headers["content-length"] ?? "0");
      if (!Number.isSafeInteger(length) || length < 0 || length > ANSWER_BYTES_MAX)
        throw malformed("a bad length");
      this.#length = length;
    }
  }

  #readLength(rest: Buffer): RawAnswer | undefined {
    if (rest.length < this.#length) {
      this.#held = rest;
      return undefined;
    }
    if (rest.length > this.#length) throw malformed("more came than was asked for");
    return this.#finish(rest.toString("utf8"));
  }

  #readChunks(rest: Buffer): RawAnswer | undefined {
    const parts: Buffer[] = [];
    let at = 0;
    for (;;) {
      const line = rest.indexOf("\r\n", at);
      if (line < 0) break;
      const size = Number.parseInt(rest.toString("latin1", at, line), 16);
      if (!(size >= 0) || size > ANSWER_BYTES_MAX) throw malformed("a bad chunk");
      const end = line + 2 + size;
      if (rest.length < end + 2) break;
      if (size === 0) return this.#finish(Buffer.concat(parts).toString("utf8"));
      parts.push(rest.subarray(line + 2, end));
      at = end + 2;
    }
    if (rest.length > ANSWER_BYTES_MAX) throw malformed("the answer is too large");
    this.#held = rest;
    return undefined;
  }

  #finish(body: string): RawAnswer {
    const answer = { status: this.#status, headers: this.#headers, body };
    this.#length = -1;
    return answer;
  }
}

function malformed(what: string): SidetalkError {
  return new SidetalkError("not_a_sidecar", `what answers is no sidecar: ${what}`);
}
