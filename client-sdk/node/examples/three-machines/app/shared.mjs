// What all processes of all machines share besides sessions.
import { Sidetalk } from "sidetalk";
import { openConfig } from "./config.mjs";
import { Online } from "./online.mjs";

/** Connects one process with its machine's sidecar. One client is enough: calls of one moment go out together. */
export async function openShared(sidecar) {
  const client = new Sidetalk({ api: sidecar });
  const config = await openConfig(client);
  return {
    client,
    config,
    online: new Online(client),
    close() {
      config.close();
      client.close();
    },
  };
}
