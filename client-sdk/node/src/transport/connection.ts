// One connection to the sidecar, with one request under way at most.

import { connect, type Socket } from "node:net";
import type { Address } from "../address.js";
import { AnswerReader, type RawAnswer } from "./http1.js";

/** Who waits for the answer of a request. */
export interface Exchange {
  readonly text: string;
  readonly head: boolean;
  answered(answer: RawAnswer): void;
  /** The connection ended. `sent`: the request may have reached the sidecar. */
  broken(sent: boolean, cause: Error | undefined): void;
}

/** What a connection tells its owner. */
export interface Owner {
  idle(connection: Connection): void;
  closed(connection: Connection): void;
}

/** A connection. It is made when it is constructed. */
export class Connection {
  readonly #socket: Socket;
  readonly #reader = new AnswerReader();
  #exchange: Exchange | undefined;
  #connected = false;
  #closed = false;
  #cause: Error | undefined;

  constructor(address: Address, connectTimeoutMillis: number, owner: Owner) {
    this.#socket = connect(
      "path" in address ? { path: address.path } : { host: address.host, port: address.port },
    );
    const socket = this.#socket;
    socket.setNoDelay(true);
    const timer = setTimeout(() => {
      socket.destroy(new Error(`no connection within ${connectTimeoutMillis} ms`));
    }, connectTimeoutMillis);
    socket.once("connect", () => {
      clearTimeout(timer);
      this.#connected = true;
      if (this.#exchange) this.#write(this.#exchange.text);
    });
    socket.on("data", (chunk: Buffer) => this.#take(chunk, owner));
    socket.on("error", (error) => (this.#cause = error));
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      clearTimeout(timer);
      this.#closed = true;
      owner.closed(this);
      const exchange = this.#exchange;
      this.#exchange = undefined;
      exchange?.broken(this.#connected, this.#cause);
    });
  }

  /** Whether it can take a request. */
  get usable(): boolean {
    return !this.#closed && this.#exchange === undefined && !this.#socket.destroyed;
  }

  /** Sends a request. */
  send(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#reader.expect(exchange.head);
    this.#socket.ref();
    if (this.#connected) this.#write(exchange.text);
  }

  #write(text: string): void {
    // Nearly all is ASCII, which costs less to write as what it is.
    this.#socket.write(text, Buffer.byteLength(text) === text.length ? "latin1" : "utf8");
  }

  /** Ends it; whoever waits is told. */
  destroy(cause?: Error): void {
    this.#socket.destroy(cause);
  }

  #take(chunk: Buffer, owner: Owner): void {
    let answer;
    try {
      if (!this.#exchange) throw new Error("the sidecar spoke without being asked");
      answer = this.#reader.push(chunk);
    } catch (error) {
      this.#socket.destroy(error as Error);
      return;
    }
    if (!answer) return;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (answer.headers["connection"] === "close") this.#socket.destroy();
    // An idle connection does not keep the process alive.
    else this.#socket.unref();
    owner.idle(this);
    exchange.answered(answer);
  }
}
