// Makes a store's calls: carries a request's tokens, takes note of what answers say about them, and of a sidecar that
// is away. Calls back, where a promise for each step would cost more than the step.

import { type Draft, type Reply, reply, request, type WriteOptions } from "../call.js";
import type { Sidetalk } from "../client.js";
import { isDown, RefusedError } from "../errors.js";
import type { TokenScope } from "../scope.js";
import type { Answer } from "../transport/request.js";
import type { Availability } from "./availability.js";

/** Takes what a call has come to: a reply, or an error in its place. */
export type Done = (error: Error | undefined, found?: Reply<unknown>) => void;

/** How a store's calls are made. */
export interface CallSettings {
  readonly acks: number | "majority" | "all" | undefined;
  readonly acksTimeoutMillis: number;
  readonly serveUnacknowledged: boolean;
  readonly waitMillis: number | undefined;
  readonly availability: Availability | undefined;
}

/** Whether a call changes the session. Its lease may move without that. */
type Effect = "none" | "change";

const NONE: readonly string[] = [];

/** Makes calls. */
export class Calls {
  // No member is private to the language: that makes an object dearer.
  private readonly client: Sidetalk;
  private readonly settings: CallSettings;

  constructor(client: Sidetalk, settings: CallSettings) {
    this.client = client;
    this.settings = settings;
  }

  /** Makes a call for the object at `path`. Calls back once, and never before it returns. */
  make(
    draft: Draft,
    options: WriteOptions,
    path: string,
    scope: TokenScope | undefined,
    effect: Effect,
    done: Done,
  ): void {
    const { transport, timeoutMillis } = this.client;
    const { acks, acksTimeoutMillis, waitMillis } = this.settings;
    const refined = effect === "change" && acks !== undefined ? { ...options, acks, acksTimeoutMillis } : options;
    const sent = scope === undefined ? NONE : scope.before();
    const answered = (answer: Answer) => {
      let found;
      try {
        found = this.take(answer, path, scope, sent, effect);
      } catch (error) {
        // What a browser brings may be of another cluster, or of another time.
        if (scope && sent.length > 0 && error instanceof RefusedError && error.code === "bad_token") {
          scope.drop(sent);
          this.make(draft, options, path, scope, effect, done);
        } else {
          this.fail(error, done);
        }
        return;
      }
      done(undefined, found);
    };
    void transport
      .call(request(draft, refined, timeoutMillis, sent, waitMillis))
      .then(answered, (error: unknown) => this.fail(error, done));
  }

  /** The same as a promise. */
  ask(
    draft: Draft,
    options: WriteOptions,
    path: string,
    scope: TokenScope | undefined,
    effect: Effect,
  ): Promise<Reply<unknown>> {
    return new Promise((resolve, reject) => {
      this.make(draft, options, path, scope, effect, (error, found) => {
        if (error) reject(error);
        else resolve(found as Reply<unknown>);
      });
    });
  }

  private take(
    answer: Answer,
    path: string,
    scope: TokenScope | undefined,
    sent: readonly string[],
    effect: Effect,
  ): Reply<unknown> {
    const { status, headers } = answer;
    const short = status === 504 && (answer.body as { code?: string } | undefined)?.code === "not_enough_acks";
    const wrote = effect === "change" && (status < 300 || short);
    if (scope) {
      const behind = headers["sidetalk-behind"] === "true";
      scope.after(path, sent, { token: headers["sidetalk-token"], behind, wrote });
    }
    // The change is made: what is missing is only that others have it.
    return reply(short && this.settings.serveUnacknowledged ? { ...answer, status: 200 } : answer);
  }

  private fail(error: unknown, done: Done): void {
    if (isDown(error)) this.settings.availability?.lost();
    done(error as Error);
  }
}
