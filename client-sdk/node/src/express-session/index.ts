/**
 * A store for express-session, and a wrapper around it that lets a browser read its own writes on any node.
 * @packageDocumentation
 */
export { MovingStore, type MovingStoreOptions } from "./moving-store.js";
export { SidetalkStore } from "./store.js";
export { type Middleware, readYourWrites, type ReadYourWritesOptions } from "./read-your-writes.js";
export type { CookieAttributes } from "./token-cookies.js";
export type { StoreOptions } from "../session-store/store.js";
