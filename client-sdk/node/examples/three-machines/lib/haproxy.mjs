// What HAProxy thinks, by its own socket.
import { connect } from "node:net";

export class HaproxyStats {
  constructor(path) {
    this.path = path;
  }

  /** Rows of `show stat`. */
  async #rows() {
    const text = await new Promise((resolve, reject) => {
      let answer = "";
      const socket = connect(this.path);
      socket.setEncoding("utf8").on("data", (chunk) => (answer += chunk));
      socket.on("error", reject).on("end", () => resolve(answer));
      socket.end("show stat\n");
    });
    const [head, ...lines] = text.trim().replace(/^# /, "").split("\n");
    const names = head.split(",");
    return lines.map((line) => Object.fromEntries(line.split(",").map((value, at) => [names[at], value])));
  }

  /** The machines of a backend: by name, `UP` or `DOWN`, without how far a check has got. */
  async servers(backend) {
    const rows = (await this.#rows()).filter(
      (row) => row.pxname === backend && !["BACKEND", "FRONTEND"].includes(row.svname),
    );
    return Object.fromEntries(rows.map((row) => [row.svname, row.status.split(" ")[0]]));
  }

  /** How often each machine has been marked down, and how many requests it has answered, over all backends. */
  async figures() {
    const figures = {};
    for (const row of await this.#rows()) {
      if (["BACKEND", "FRONTEND"].includes(row.svname)) continue;
      const of = (figures[row.svname] ??= { downs: 0, requests: 0, retries: 0, redispatches: 0 });
      if (row.pxname === "connected") of.downs += Number(row.chkdown);
      of.requests += Number(row.hrsp_2xx) + Number(row.hrsp_3xx) + Number(row.hrsp_4xx) + Number(row.hrsp_5xx);
      of.retries += Number(row.wretr);
      of.redispatches += Number(row.wredis);
    }
    return figures;
  }
}
