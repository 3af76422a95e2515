// Declared sets in a session: a list of strings for the application, a set for the cluster.

import type { Json, PathOp } from "../call.js";
import { type Declared, isMembers } from "./diff.js";

type JsonObject = { [key: string]: Json };

function holder(root: JsonObject, path: readonly string[]): JsonObject | undefined {
  let at: Json | undefined = root;
  for (const name of path.slice(0, -1)) {
    if (typeof at !== "object" || at === null || Array.isArray(at)) return undefined;
    at = Object.hasOwn(at, name) ? at[name] : undefined;
  }
  return typeof at === "object" && at !== null && !Array.isArray(at) ? at : undefined;
}

function* each(root: JsonObject, declared: Declared): Generator<[JsonObject, string, string[]]> {
  for (const key of declared.sets) {
    const path = key.split("\u0000");
    const within = holder(root, path);
    if (within) yield [within, path.at(-1) as string, path];
  }
}

/** Puts an empty list where a declared set has no members: the cluster does not keep empty sets. */
export function fillSets(root: JsonObject, declared: Declared): void {
  if (declared.sets.size === 0) return;
  for (const [within, name] of each(root, declared)) {
    if (!Object.hasOwn(within, name)) within[name] = [];
  }
}

/** Takes the declared sets out of a new session's content; gives the operations that make them. */
export function takeSets(root: JsonObject, declared: Declared): PathOp[] {
  const ops: PathOp[] = [];
  for (const [within, name, path] of each(root, declared)) {
    const members = within[name];
    if (!isMembers(members)) continue;
    Reflect.deleteProperty(within, name);
    for (const member of members) ops.push({ op: "add", path, member });
  }
  return ops;
}
