/**
 * A store for `@fastify/session`, without express-session.
 * @packageDocumentation
 */
import { SessionStore } from "../session-store/store.js";

export type { StoreOptions } from "../session-store/store.js";

/** The store: `fastify.register(session, { store: new SidetalkStore(), … })`. */
export class SidetalkStore extends SessionStore {}
