// What carries tokens from call to call, so that nobody has to.

/** A token: letters, digits, `-` and `_`. What comes from outside is checked against this. */
const TOKEN = /^[A-Za-z0-9_-]{1,512}$/;

/** A node takes no more. */
const TOKENS_MAX = 64;

/** Whether a text may be a token. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

const NONE: readonly string[] = [];

/** Those of them that are tokens, each once. */
function checked(tokens: readonly string[]): readonly string[] {
  // Most browsers bring one.
  if (tokens.length === 1) return isToken(tokens[0] as string) ? tokens : NONE;
  return [...new Set(tokens)].filter(isToken).slice(0, TOKENS_MAX);
}
const NOTHING: ReadonlyMap<string, string> = new Map();

/** Carries tokens from call to call. */
export interface TokenKeeper {
  /** What a call for this object has to send. */
  before(path: string): readonly string[];
  /** Takes note of an answer. `sent` is what went with the call. */
  after(path: string, sent: readonly string[], answer: Seen): void;
}

/** What an answer says about tokens. */
export interface Seen {
  readonly token: string | undefined;
  readonly behind: boolean;
  readonly wrote: boolean;
}

/**
 * The tokens of one client's doings: of one browser, of one job. Every call made with it sees what the calls before
 * it saw, also when those went to another node.
 */
export class TokenScope implements TokenKeeper {
  // Made when they are needed: most requests of a browser bring nothing and write nothing. Lists are never changed, only
  // replaced.
  /** Came from elsewhere, and this node has not shown yet that it has seen them. */
  private owed: readonly string[];
  private carried: readonly string[] = NONE;
  private writes: Map<string, string> | undefined = undefined;

  constructor(tokens: Iterable<string> = NONE) {
    this.owed = tokens === NONE ? NONE : checked([...tokens]);
  }

  /** Everything that a later call elsewhere has to send. */
  get tokens(): string[] {
    return [...this.owed, ...this.carried, ...this.written.values()];
  }

  /** The tokens of writes made with this scope, by the path of their object. */
  get written(): ReadonlyMap<string, string> {
    return this.writes ?? NOTHING;
  }

  /** Whether no node that was asked has shown yet that it has seen this. */
  owes(token: string): boolean {
    return this.owed.includes(token);
  }

  /** Forgets tokens. */
  drop(tokens: readonly string[]): void {
    this.owed = this.owed.filter((token) => !tokens.includes(token));
  }

  before(): readonly string[] {
    return this.owed;
  }

  after(path: string, sent: readonly string[], answer: Seen): void {
    // Who answers without a token has not waited for those that were sent: it was refused before, or does not wait at all.
    if (sent.length > 0 && this.owed.length > 0 && answer.token !== undefined && !answer.behind) {
      const seen = this.owed === sent ? sent : this.owed.filter((token) => sent.includes(token));
      this.carried = this.carried.length === 0 ? seen : [...this.carried, ...seen];
      this.owed = this.owed === sent ? NONE : this.owed.filter((token) => !sent.includes(token));
    }
    if (answer.wrote && answer.token !== undefined) (this.writes ??= new Map()).set(path, answer.token);
  }
}

const LAST_WRITES_MAX = 1_024;

/**
 * What a whole process has written: needed only when its sidecar was restarted, since one process sees its own
 * writes.
 */
export class ProcessTokens implements TokenKeeper {
  readonly #written = new Map<string, { token: string; epoch: number }>();
  readonly #epoch: () => number;

  /** `epoch` grows whenever the sidecar may have become another process. */
  constructor(epoch: () => number) {
    this.#epoch = epoch;
  }

  before(path: string): readonly string[] {
    if (this.#epoch() === 0) return NONE;
    const written = this.#written.get(path);
    return written === undefined || written.epoch === this.#epoch() ? NONE : [written.token];
  }

  after(path: string, sent: readonly string[], answer: Seen): void {
    // Caught up, or lost with the process that had it: no use to wait for it again.
    if (sent.length > 0 && answer.token !== undefined) this.#written.delete(path);
    if (!answer.wrote || answer.token === undefined) return;
    this.#written.delete(path);
    this.#written.set(path, { token: answer.token, epoch: this.#epoch() });
    if (this.#written.size > LAST_WRITES_MAX) {
      for (const oldest of this.#written.keys()) {
        this.#written.delete(oldest);
        break;
      }
    }
  }
}
