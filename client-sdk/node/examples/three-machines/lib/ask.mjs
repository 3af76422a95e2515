// One HTTP request, by TCP or Unix socket.
import { request } from "node:http";

/** Gives `{status, headers, text, json}`. `to`: `{host, port}` or `{socketPath}`. */
export function ask(to, method, path, { body, headers = {}, millis = 5_000 } = {}) {
  return new Promise((resolve, reject) => {
    const content = body === undefined ? undefined : JSON.stringify(body);
    const asked = request(
      {
        ...to,
        ...(to.socketPath ? { host: "localhost" } : {}),
        method,
        path,
        agent: false,
        timeout: millis,
        headers: content === undefined ? headers : { ...headers, "content-type": "application/json" },
      },
      (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          const { statusCode: status, headers } = answer;
          resolve({
            status,
            headers,
            text,
            get json() {
              return JSON.parse(text);
            },
          });
        });
      },
    );
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${millis} ms`)));
    asked.on("error", reject);
    asked.end(content);
  });
}
