// A store for the time of moving: what is not here yet is taken from the store of before.

import type session from "express-session";
import type { StoreOptions } from "../session-store/store.js";
import { SidetalkStore } from "./store.js";

/** How a {@link MovingStore} is set up. */
export interface MovingStoreOptions extends StoreOptions {
  /** The store of before. */
  from: Pick<session.Store, "get" | "set" | "destroy" | "touch">;
  /** Also write to the store of before, so that one can go back to it at any time. Default `false`. */
  keep?: boolean | undefined;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Callback = (error?: any, value?: any) => void;

/**
 * Reads a session from the store of before when the cluster does not have it, and stores it in the cluster from then on.
 * What was destroyed in the cluster is not taken again.
 */
export class MovingStore extends SidetalkStore {
  readonly moving: { from: MovingStoreOptions["from"]; keep: boolean };

  constructor(options: MovingStoreOptions) {
    super(options);
    this.moving = { from: options.from, keep: options.keep ?? false };
  }

  override get(sid: string, callback: Callback): void {
    super.get(sid, (error, found) => {
      if (error || found) return callback(error, found);
      this.moving.from.get(sid, (error, old) => {
        if (error || !old) return callback(error, null);
        // An id that has ended is used up; that is told here.
        super.set(sid, JSON.parse(JSON.stringify(old)), (error?: { code?: string }) => {
          if (error?.code === "session_id_used") return callback(null, null);
          if (error) return callback(error);
          super.get(sid, callback);
        });
      });
    });
  }

  override set(sid: string, data: session.SessionData, callback?: Callback): void {
    super.set(sid, data, (error) => {
      if (error || !this.moving.keep) return callback?.(error);
      this.moving.from.set(sid, data, callback);
    });
  }

  override touch(sid: string, data: session.SessionData, callback?: Callback): void {
    super.touch(sid, data, (error) => {
      if (error || !this.moving.keep || !this.moving.from.touch) return callback?.(error);
      this.moving.from.touch(sid, data, callback as () => void);
    });
  }

  override destroy(sid: string, callback?: Callback): void {
    // There first: once it is gone here, nothing must be left to take again.
    this.moving.from.destroy(sid, (error) => {
      if (error) return callback?.(error);
      super.destroy(sid, callback);
    });
  }
}
