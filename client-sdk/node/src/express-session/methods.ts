// Puts other methods in the place of a response's, and gives those that stood there.
//
// A framework's responses share a prototype that the framework made for itself: there they are put, once. Express gives
// each response this prototype anew, after which V8 has a hidden class for each single one, and every property that it
// is given from then on costs 4 µs: more than all else that is done for a request here. Any other response, and one on
// which somebody has put methods already, is given its own.

import type { ServerResponse } from "node:http";

/** Arguments of any of the methods. */
export type Args = unknown[];
/** A method of a response. */
export type Method = (this: ServerResponse, ...args: Args) => unknown;

const NAMES = ["writeHead", "write", "flushHeaders", "end"] as const;
/** What stood there. */
export type Inner = Readonly<Record<(typeof NAMES)[number], Method>>;

/** Takes the calls. */
export abstract class Holder {
  abstract readonly response: ServerResponse;
  /** Whether the response has the methods from its prototype. */
  shared = false;
  /** Those among whom it stands. */
  among: Holders | undefined = undefined;
  /** Where it stands there. */
  at = -1;
  /** What has been assigned to the response's `writeHead`, if it has the methods from its prototype. */
  placedHead: unknown = undefined;
  /** The same of its `end`. */
  placedEnd: unknown = undefined;
  /** What stood in the place of the response's `end` when it was hooked, or stands there since. */
  plainEnd: unknown = undefined;
  /** The response's `on`, where somebody has put one there. */
  innerOn: Method | undefined = undefined;
  /** Whether to the application the headers are sent. */
  abstract readonly begun: boolean;
  abstract writeHead(args: Args): void;
  abstract write(args: Args): boolean;
  abstract flushHeaders(): void;
  abstract end(args: Args): void;
  abstract on(args: Args): unknown;
}

/** Methods for one holder's response, or for all responses that have them from their prototype. */
type Methods = Record<(typeof NAMES)[number], Method>;

/** A prototype that has the methods. */
interface Shared {
  readonly methods: Methods;
  /** Has what they stand in front of. */
  readonly base: Inner & { readonly headersSent: boolean };
}

/** By a response's own prototype; nothing where the methods had better be put on the response. */
const prototypes = new WeakMap<object, Shared | null>();
const roots = new WeakMap<object, Shared>();
/** Holders that no request leads to. */
const others = new WeakMap<ServerResponse, Holder>();
let hasOthers = false;
/** So many may be there before anybody looks whether they are over. */
const UNSWEPT = 64;

/**
 * Holders by their responses. A list, none of whose places is given up: the tables that a growing and shrinking Map leaves
 * behind keep all that they held until the next full collection.
 */
class Holders {
  private readonly list: (Holder | undefined)[] = [];
  private count = 0;
  private sweepAt = UNSWEPT;

  get size(): number {
    return this.count;
  }

  of(response: ServerResponse): Holder | undefined {
    // The latest is most often it: what wraps the response's methods does so at once.
    for (let at = this.count - 1; at >= 0; at--) if (this.list[at]?.response === response) return this.list[at];
    return undefined;
  }

  add(holder: Holder): void {
    if (this.count >= this.sweepAt) this.sweep();
    holder.among = this;
    this.list[(holder.at = this.count++)] = holder;
  }

  remove(holder: Holder): void {
    const last = this.list[--this.count] as Holder;
    this.list[this.count] = undefined;
    if (last !== holder) this.list[(last.at = holder.at)] = last;
    holder.among = undefined;
  }

  /** Removes those whose response is over in ways that nobody here is told of. */
  private sweep(): void {
    for (let at = this.count - 1; at >= 0; at--) {
      const holder = this.list[at] as Holder;
      if (holder.response.writableEnded || holder.response.destroyed) this.remove(holder);
    }
    this.sweepAt = Math.max(UNSWEPT, 2 * this.count);
  }
}

/** Holders that no request leads to yet: its session is being loaded. */
const early = new Holders();
/** Holders whose request leads to them, unless the application gives it another store. */
const led = new Holders();

type Leading = { sessionStore?: { context?: unknown } };

/** The request leads to it, by the store that express-session has put there: no property of the response is needed. */
function holderOf(response: ServerResponse): Holder | undefined {
  const store = (response.req as Leading | undefined)?.sessionStore;
  let holder: Holder | undefined;
  if (store) holder = store.context instanceof Holder ? store.context : (early.of(response) ?? led.of(response));
  if (hasOthers) holder ??= others.get(response);
  // Somebody further in may have taken the prototype's method before the response was given its own.
  return holder?.shared && holder.response === response ? holder : undefined;
}

/** Its response is over, or another way leads to it. */
export function settle(holder: Holder): void {
  holder.among?.remove(holder);
}

/** Its request leads to it from now on. */
export function lead(holder: Holder): void {
  // Who answered without calling the next one has settled it, or has methods of its own.
  if (!isEarly(holder)) return;
  early.remove(holder);
  led.add(holder);
}

/** Whether no request leads to it yet. */
export function isEarly(holder: Holder): boolean {
  return holder.among === early;
}

/** @internal How many requests have not been led to their holder, and how many have and are not over. */
export function heldNow(): { early: number; led: number } {
  return { early: early.size, led: led.size };
}

/** For a holder to which its request does not lead. */
export function leadTo(holder: Holder): void {
  hasOthers = true;
  others.set(holder.response, holder);
}

/** Puts the methods in their place. Gives what stood there. What comes from a prototype begins when the request leads to the holder. */
export function hook(holder: Holder): Inner {
  const { response } = holder;
  const prototype = Object.getPrototypeOf(response) as Inner;
  const shared = sharedOf(prototype);
  if (Object.hasOwn(response, "on")) {
    // Somebody further in keeps listeners from the response.
    holder.innerOn = response.on as Method; // eslint-disable-line @typescript-eslint/unbound-method -- called as one
    response.on = ((...args: Args) => holder.on(args)) as never;
  }
  if (!shared || isChanged(response, prototype, shared.methods)) {
    const inner = hookOwn(holder);
    holder.plainEnd = response.end; // eslint-disable-line @typescript-eslint/unbound-method -- called as one
    return inner;
  }
  holder.shared = true;
  holder.plainEnd = shared.methods.end;
  early.add(holder);
  return shared.base;
}

/**
 * Whether somebody has put other methods in front of those of the prototype. Each look at a response's own properties has V8
 * search its hidden class, which it has never seen before: so the prototype is asked wherever that will do.
 */
function isChanged(response: ServerResponse, prototype: Inner, methods: Methods): boolean {
  for (const name of NAMES) {
    if (prototype[name] !== methods[name] || Object.hasOwn(response, name)) return true;
  }
  const holder = holderOf(response);
  return holder !== undefined && (holder.placedHead !== undefined || holder.placedEnd !== undefined);
}

/** What stands in the place of a held response's `end`. */
export function endOf(holder: Holder): unknown {
  const { response } = holder;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called as one
  if (!holder.shared || Object.hasOwn(response, "end")) return response.end;
  return holder.placedEnd ?? holder.plainEnd;
}

/** Puts another `end` in its place. */
export function placeEnd(holder: Holder, end: Method): void {
  if (!holder.shared || Object.hasOwn(holder.response, "end")) holder.response.end = end as never;
  else holder.placedEnd = end;
}

/** For the application the headers are sent from now on. */
export function begin(holder: Holder): void {
  if (holder.shared) return;
  const get = () => holder.begun;
  Object.defineProperty(holder.response, "headersSent", { configurable: true, enumerable: true, get });
}

function hookOwn(holder: Holder): Inner {
  const { response } = holder;
  const { writeHead, write, flushHeaders, end } = response as unknown as Inner;
  const methods: Methods = {
    writeHead: (...args) => (holder.writeHead(args), response),
    write: (...args) => holder.write(args),
    flushHeaders: () => holder.flushHeaders(),
    end: (...args) => (holder.end(args), response),
  };
  // Not assigned: a prototype that takes what is assigned would give it to an outer holder of the same response.
  for (const name of NAMES) {
    const value = methods[name];
    Object.defineProperty(response, name, { value, configurable: true, enumerable: true, writable: true });
  }
  return { writeHead, write, flushHeaders, end };
}

function sentBy(base: object, response: ServerResponse): boolean {
  return Reflect.get(base, "headersSent", response) as boolean;
}

function sharedOf(prototype: object): Shared | undefined {
  let shared = prototypes.get(prototype);
  if (shared === undefined) prototypes.set(prototype, (shared = find(prototype) ?? null));
  return shared ?? undefined;
}

const LOOKED_FOR = [...NAMES, "headersSent", "constructor"] as const;

/** The framework's prototype is the one just before Node's, which has the methods itself. */
function find(prototype: object): Shared | undefined {
  let root: object | undefined;
  for (let at: object | null = prototype; at; at = Object.getPrototypeOf(at) as object | null) {
    const known = roots.get(at);
    if (known) return known;
    if (Object.hasOwn(at, "writeHead") && Object.hasOwn(at, "statusCode")) return root && share(root, at);
    // Others have put theirs there; or it is somebody's class.
    for (const name of LOOKED_FOR) if (Object.hasOwn(at, name)) return undefined;
    root = at;
  }
  return undefined;
}

function share(root: object, node: object): Shared | undefined {
  if (!Object.isExtensible(root)) return undefined;
  // Looked up with every call: who measures responses may put something there later.
  const base = node as Shared["base"];
  const methods: Methods = {
    writeHead(...args) {
      const holder = holderOf(this);
      if (!holder) return base.writeHead.apply(this, args);
      holder.writeHead(args);
      return this;
    },
    write(...args) {
      const holder = holderOf(this);
      return holder ? holder.write(args) : base.write.apply(this, args);
    },
    flushHeaders() {
      const holder = holderOf(this);
      if (holder) holder.flushHeaders();
      else base.flushHeaders.call(this);
    },
    end(...args) {
      const holder = holderOf(this);
      if (!holder) return base.end.apply(this, args);
      holder.end(args);
      return this;
    },
  };
  for (const name of ["write", "flushHeaders"] as const) {
    Object.defineProperty(root, name, { value: methods[name], configurable: true, writable: true });
  }
  takeAssigned(root, "writeHead", "placedHead", methods.writeHead);
  takeAssigned(root, "end", "placedEnd", methods.end);
  Object.defineProperty(root, "headersSent", {
    configurable: true,
    get(this: ServerResponse) {
      return holderOf(this)?.begun ?? sentBy(base, this);
    },
  });
  const shared = { methods, base };
  roots.set(root, shared);
  return shared;
}

/** What is assigned to a held response's method stays with its holder: see above for what a property would cost. */
function takeAssigned(root: object, name: string, place: "placedHead" | "placedEnd", method: Method): void {
  Object.defineProperty(root, name, {
    configurable: true,
    get(this: ServerResponse) {
      return holderOf(this)?.[place] ?? method;
    },
    set(this: ServerResponse, value: unknown) {
      const holder = holderOf(this);
      if (holder) holder[place] = value;
      else Object.defineProperty(this, name, { value, configurable: true, enumerable: true, writable: true });
    },
  });
}
