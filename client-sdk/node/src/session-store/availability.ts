// Tells a framework when the sidecar cannot be reached, so that requests go on without sessions meanwhile.

import type { EventEmitter } from "node:events";
import type { Sidetalk } from "../client.js";

const PROBE_MILLIS = 500;

/** Emits `disconnect` when a call has failed, and `connect` when the sidecar serves again. */
export class Availability {
  readonly #client: Sidetalk;
  readonly #store: EventEmitter;
  #probe: NodeJS.Timeout | undefined;

  constructor(client: Sidetalk, store: EventEmitter) {
    this.#client = client;
    this.#store = store;
  }

  /** A call could not be made. */
  lost(): void {
    if (this.#probe) return;
    this.#store.emit("disconnect");
    this.#later();
  }

  #later(): void {
    this.#probe = setTimeout(() => void this.#look(), PROBE_MILLIS).unref();
  }

  async #look(): Promise<void> {
    const ready = await this.#client.ready({ timeoutMillis: PROBE_MILLIS }).catch(() => false);
    if (!ready) {
      this.#later();
      return;
    }
    this.#probe = undefined;
    this.#store.emit("connect");
  }
}
