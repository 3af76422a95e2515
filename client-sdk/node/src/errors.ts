/** A problem document (RFC 9457) as a node sends it. */
export interface ProblemDocument {
  readonly code: string;
  readonly title?: string;
  readonly detail?: string;
  readonly status?: number;
  readonly [member: string]: unknown;
}

/** Any failure of a call. `code` is stable; `status` is what an HTTP handler may answer with. */
export class SidetalkError extends Error {
  readonly code: string;
  /** A fitting HTTP status for a handler that passes the error on. Express uses it. */
  readonly status: number;
  /** Whether the call may have changed something although it failed. */
  readonly uncertain: boolean;

  constructor(
    code: string,
    message: string,
    options: { status?: number; uncertain?: boolean; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.status = options.status ?? 503;
    this.uncertain = options.uncertain ?? false;
  }
}

/** The sidecar cannot be reached: nothing was sent. */
export class UnreachableError extends SidetalkError {
  constructor(address: string, cause: Error) {
    super("sidecar_unreachable", `no sidecar answers at ${address}: ${cause.message}`, { cause });
  }
}

/** The connection broke after the call was sent. */
export class BrokenError extends SidetalkError {
  constructor(address: string, uncertain: boolean, cause?: Error) {
    const why = cause ? `: ${cause.message}` : "";
    super("connection_broken", `the connection to ${address} broke before the answer came${why}`, {
      uncertain,
      cause,
    });
  }
}

/** The sidecar took longer than the call's time limit. */
export class TimeoutError extends SidetalkError {
  constructor(address: string, millis: number, uncertain: boolean) {
    super("sidecar_timeout", `the sidecar at ${address} has not answered within ${millis} ms`, { uncertain });
  }
}

/** The node refused the call and said why. */
export class RefusedError extends SidetalkError {
  readonly problem: ProblemDocument;
  /** The node could not catch up with the tokens that were sent, or could not ask every member, in time. */
  readonly behind: boolean;
  readonly token: string | undefined;
  /** The status that the node answered with. */
  readonly answered: number;

  constructor(status: number, problem: ProblemDocument, behind: boolean, token: string | undefined) {
    // A 404 or 410 of the sidecar is no 404 of the site.
    super(problem.code, `${problem.code}: ${problem.detail ?? problem.title ?? `status ${status}`}`, {
      status: status >= 500 || behind ? 503 : 500,
      uncertain: status === 504 || status === 500,
    });
    this.problem = problem;
    this.behind = behind;
    this.token = token;
    this.answered = status;
  }
}

/** A read whose answer would be older than what its caller has seen, or a "not found" from a node that could not ask everyone. */
export class BehindError extends SidetalkError {
  constructor(message: string) {
    super("behind", message);
  }
}

/** Whether an error says that the object was destroyed or has expired. */
export function isEnded(error: unknown): boolean {
  return error instanceof RefusedError && error.code === "ended";
}

/** Whether an error says that nobody who was asked has heard of the object. With `behind` not everybody was asked. */
export function isUnknown(error: unknown): error is RefusedError {
  return error instanceof RefusedError && error.code === "unknown";
}

/** Whether an error says that a set does not hold the member. */
export function isNoMember(error: unknown): error is RefusedError {
  return error instanceof RefusedError && error.code === "not_a_member";
}

/** Whether an error says that the sidecar could not be spoken with at all. */
export function isDown(error: unknown): boolean {
  return (
    error instanceof UnreachableError ||
    error instanceof BrokenError ||
    error instanceof TimeoutError ||
    (error instanceof RefusedError && error.code === "not_ready")
  );
}
