/**
 * Global objects, mirrored in the process: read synchronously, changed with promises.
 * @packageDocumentation
 */
import type { Json } from "../call.js";
import type { Sidetalk } from "../client.js";
import { LiveObject, type LiveOptions } from "./live.js";

export { type LiveEvents, LiveObject, type LiveOptions, type LivePath } from "./live.js";

/** Mirrors a document: `const config = await live(talk, "config")`. The same as `talk.live("config")`. */
export function live<T extends object = Record<string, Json>>(
  client: Sidetalk,
  name: string,
  options?: LiveOptions,
): Promise<LiveObject<T>> {
  return LiveObject.open<T>(client, name, options);
}
