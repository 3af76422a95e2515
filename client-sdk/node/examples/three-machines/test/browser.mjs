// A browser with its own cookies and kept-alive connections, which measures how long everything takes.
import { Agent, request } from "node:http";

export class Browser {
  cookies = new Map();
  #agent = new Agent({ keepAlive: true, maxSockets: 2 });
  #to;

  /** @param to `{host, port}` */
  constructor(to) {
    this.#to = to;
  }

  /** A browser that brings the same cookies somewhere else. */
  at(to) {
    const other = new Browser(to);
    other.cookies = new Map(this.cookies);
    return other;
  }

  /** Gives `{status, location, text, by, millis}`; `status` is 0 when no answer came. Never rejects. */
  fetch(method, path, form, millisMax = 60_000) {
    const since = performance.now();
    const body = form === undefined ? undefined : new URLSearchParams(form).toString();
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = cookie ? { cookie } : {};
    if (body !== undefined) headers["content-type"] = "application/x-www-form-urlencoded";
    return new Promise((resolve) => {
      const done = (fields) => resolve({ status: 0, text: "", ...fields, millis: performance.now() - since });
      const asked = request({ ...this.#to, method, path, headers, agent: this.#agent }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        answer.on("error", (error) => done({ error }));
        answer.on("end", () => {
          if (!answer.complete) return done({ error: new Error("the answer breaks off") });
          this.#keep(answer.headers["set-cookie"] ?? []);
          const { location, "x-answered-by": by } = answer.headers;
          done({ status: answer.statusCode, location, by, text });
        });
      });
      asked.setTimeout(millisMax, () => asked.destroy(new Error("no answer")));
      asked.on("error", (error) => done({ error }));
      asked.end(body);
    });
  }

  #keep(lines) {
    for (const line of lines) {
      const [pair, ...attributes] = line.split("; ");
      const at = pair.indexOf("=");
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
      const age = attributes.find((text) => /^max-age=/i.test(text))?.split("=")[1];
      if (value === "" || (age !== undefined && Number(age) <= 0)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
  }

  close() {
    this.#agent.destroy();
  }
}
