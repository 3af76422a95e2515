// The token that a sidecar with `--api-token-file` wants to be shown.

import { readFileSync } from "node:fs";
import { SidetalkError } from "./errors.js";

// What a sidecar takes; anything else could end the header.
const TOKEN = /^[\x21-\x7e]+$/;

/** Where the token comes from. */
export interface CredentialSource {
  /** The token itself. */
  apiToken?: string | undefined;
  /** A file that holds it: its first line that is neither empty nor a comment. */
  apiTokenFile?: string | undefined;
}

/** The token, and where to look when it is not the right one any more. */
export class Credentials {
  #token: string | undefined;
  readonly #file: string | undefined;

  /** @throws SidetalkError `bad_token_file` or `bad_api_token` */
  constructor(source: CredentialSource) {
    const { apiToken, apiTokenFile } = source;
    if (apiToken !== undefined && !TOKEN.test(apiToken)) {
      throw new SidetalkError("bad_api_token", "the token holds what a header cannot");
    }
    this.#file = apiToken === undefined ? apiTokenFile : undefined;
    this.#token = this.#file === undefined ? apiToken : read(this.#file);
  }

  /** The value of `Authorization`, if there is a token. */
  get authorization(): string | undefined {
    return this.#token === undefined ? undefined : `Bearer ${this.#token}`;
  }

  /** Reads the file again: its operator may have put another token into it. Gives whether that was so. */
  reload(): boolean {
    if (this.#file === undefined) return false;
    const before = this.#token;
    try {
      this.#token = read(this.#file);
    } catch {
      // It is being replaced; the next refusal looks again.
    }
    return this.#token !== before;
  }
}

function read(file: string): string {
  let text;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new SidetalkError("bad_token_file", `${file} cannot be read`, { cause });
  }
  const lines = text.split("\n").map((line) => line.trim());
  const token = lines.find((line) => line.length > 0 && !line.startsWith("#"));
  if (token === undefined) throw new SidetalkError("bad_token_file", `${file} holds no token`);
  if (!TOKEN.test(token)) throw new SidetalkError("bad_token_file", `${file} holds what a header cannot`);
  return token;
}
