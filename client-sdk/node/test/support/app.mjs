// A small Express application, and a browser for it.
import http from "node:http";

/** Serves an application on a free port. */
export async function serve(app) {
  const server = http.createServer(app);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}`, close: () => close(server) };
}

function close(server) {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
}

/** Keeps cookies, as a browser does. One browser may go to many servers: they are one site behind a balancer. */
export class Browser {
  cookies = new Map();
  #agent = new http.Agent({ keepAlive: true });

  /** One request. `at`: the server's URL. */
  async fetch(at, path, { method = "GET", headers = {}, body } = {}) {
    const answer = await new Promise((resolve, reject) => {
      const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
      const asked = http.request(
        `${at}${path}`,
        { method, agent: this.#agent, headers: { ...headers, ...(cookie ? { cookie } : {}) } },
        (response) => {
          const chunks = [];
          response.on("data", (chunk) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () =>
            resolve({ status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) }),
          );
        },
      );
      asked.on("error", reject);
      asked.end(body);
    });
    this.#keep(answer.headers["set-cookie"] ?? []);
    return {
      ...answer,
      text: answer.bytes.toString(),
      get json() {
        return JSON.parse(this.text);
      },
    };
  }

  #keep(lines) {
    for (const line of lines) {
      const [pair, ...attributes] = line.split("; ");
      const at = pair.indexOf("=");
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
      const age = attributes.find((text) => /^max-age=/i.test(text))?.split("=")[1];
      const expires = attributes.find((text) => /^expires=/i.test(text))?.slice("expires=".length);
      const over =
        age !== undefined ? Number(age) <= 0 : expires !== undefined && Date.parse(expires) <= Date.now();
      if (over) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }

  close() {
    this.#agent.destroy();
  }
}
