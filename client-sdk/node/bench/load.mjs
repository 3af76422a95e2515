// Load: connections that ask again as soon as they are answered, each a browser with its cookies.
import { connect } from "node:net";

/** One browser on one connection. */
export class Browser {
  #socket;
  #cookies = new Map();
  #held = "";
  #answered;

  constructor(port) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (text) => this.#take(text));
    this.#socket.on("error", (error) => this.#answered?.reject(error));
  }

  get(path) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n${cookie ? `cookie: ${cookie}\r\n` : ""}\r\n`);
    return new Promise((resolve, reject) => (this.#answered = { resolve, reject }));
  }

  #take(text) {
    this.#held += text;
    const end = this.#held.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#held.slice(0, end);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (this.#held.length < end + 4 + length) return;
    const body = this.#held.slice(end + 4);
    this.#held = "";
    for (const [, name, value, rest] of head.matchAll(/\r\nset-cookie: ([^=]+)=([^;\r]*)([^\r]*)/gi)) {
      if (/Max-Age=0/.test(rest)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
    const answered = this.#answered;
    if (head.startsWith("HTTP/1.1 200")) answered.resolve(body);
    else answered.reject(new Error(head));
  }

  close() {
    this.#socket.destroy();
  }
}

/** Asks for a time; gives how many answers came, and how long it took. */
export async function load(browsers, path, millis) {
  const began = performance.now();
  let answers = 0;
  await Promise.all(
    browsers.map(async (browser) => {
      while (performance.now() - began < millis) {
        await browser.get(path);
        answers++;
      }
    }),
  );
  return { answers, seconds: (performance.now() - began) / 1_000 };
}
