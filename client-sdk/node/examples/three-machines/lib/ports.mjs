// Free ports on loopback addresses.
import { createServer } from "node:net";

/** Whether somebody could listen there. */
export async function isFree(host, port) {
  const server = await listen(host, port).catch(() => undefined);
  await new Promise((resolve) => (server ? server.close(resolve) : resolve()));
  return server !== undefined;
}

/** A port that is free now. */
export async function freePort(host) {
  const server = await listen(host, 0);
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function listen(host, port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}
