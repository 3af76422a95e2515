import { SidetalkError } from "./errors.js";

/** Where a sidecar listens. */
export type Address = { readonly path: string } | { readonly host: string; readonly port: number };

/** The address a sidecar has unless it is told otherwise. */
export const DEFAULT_ADDRESS = "http://127.0.0.1:7411";

/**
 * Reads `unix:/path/to/socket`, `http://host:port` or `host:port`.
 * @throws SidetalkError `bad_address`
 */
export function parseAddress(text: string): Address {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (path.length > 0) return { path };
  } else {
    const match = /^(?:http:\/\/)?(\[[0-9a-fA-F:.]+\]|[^:/[\]\s]+):(\d{1,5})\/?$/.exec(text);
    const port = Number(match?.[2]);
    const host = match?.[1]?.replace(/^\[|\]$/g, "");
    if (host !== undefined && port > 0 && port < 65_536) return { host, port };
  }
  throw new SidetalkError(
    "bad_address",
    `${JSON.stringify(text)} must be unix:PATH, http://HOST:PORT or HOST:PORT`,
  );
}

/** The address as people write it. */
export function formatAddress(address: Address): string {
  if ("path" in address) return `unix:${address.path}`;
  return address.host.includes(":")
    ? `http://[${address.host}]:${address.port}`
    : `http://${address.host}:${address.port}`;
}

/** What `Host` has to say. */
export function hostHeader(address: Address): string {
  return "path" in address ? "localhost" : formatAddress(address).slice("http://".length);
}
