// What is known of a session in one request, and how it is found again when the session is saved.

import type { Stored, SessionCookie } from "./cookie.js";
import type { Snapshot } from "./snapshot.js";

/** A session as frameworks hand it over. */
export interface SessionData {
  cookie: SessionCookie;
  [name: string]: unknown;
}

/** What is known of a session in this process. */
export interface Known {
  /** What is stored, without the cookie, as far as this request knows. */
  content: Snapshot;
  cookie: Stored;
  life: string;
  /** Until when it is leased, by `performance.now()`. */
  deadline: number;
}

/** One session in one request. */
export interface State {
  /** Nothing before it is stored for the first time. */
  known: Known | undefined;
  /** A save is under way: another one waits for it. */
  saving: boolean;
  waiting: (() => void)[] | undefined;
}

/** In sessions of frameworks that copy what they are given, this leads to the {@link State}. */
const CARRIER = "__sidetalk";

/** Leads from a session to its {@link State}. */
const STATE = Symbol("sidetalk.state");
type Bound = { [STATE]?: State };

/** Leads from a copy of a session to its state, and is no part of its content. */
class Carrier {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  get state(): State {
    return this.#state;
  }

  toJSON(): undefined {
    return undefined;
  }
}

/** A state of what may be known. */
export function stateWith(known: Known | undefined): State {
  return { known, saving: false, waiting: undefined };
}

/** Out of sight of whoever copies or compares the session. */
export function bindState(session: object, state: State): void {
  Object.defineProperty(session, STATE, { value: state, configurable: true, writable: true });
}

/** For a framework that copies what it is given. */
export function carry(session: SessionData, state: State): void {
  session[CARRIER] = new Carrier(state);
}

/** The state of a session, if it was read from here or saved. */
export function stateOf(session: SessionData): State | undefined {
  const bound = (session as Bound)[STATE];
  if (bound) return bound;
  const carrier = session[CARRIER];
  if (carrier instanceof Carrier) return carrier.state;
  return given?.data === session ? given.state : undefined;
}

/** What is given to a callback just now, and not bound to its state yet. */
let given: { data: object; state: State } | undefined;

/** Gives loaded data to a callback. What the framework makes of it at once is bound to the state; else the data is. */
export function give(data: object, state: State, to: (data: object) => void): void {
  const before = given;
  const mine = (given = { data, state });
  try {
    to(data);
  } finally {
    if (given === mine) bindState(data, state);
    given = before;
  }
}

/** Binds what a framework has made of loaded data to the data's state. */
export function follow(session: object, data: object): void {
  const state = given?.data === data ? given.state : (data as Bound)[STATE];
  if (!state) return;
  bindState(session, state);
  if (given?.data === data) given = undefined;
}
