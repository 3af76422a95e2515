// The same for one machine under pm2: `npx pm2 start ecosystem.config.cjs`. pm2 does what app/primary.mjs does otherwise.
const { env } = process;
const binary = env.SIDETALK_BINARY ?? "sidetalk";
const api = env.SIDETALK_API ?? "http://127.0.0.1:7411";
const name = env.MACHINE ?? "web-1";

module.exports = {
  apps: [
    {
      name: "sidetalk",
      script: binary,
      interpreter: "none",
      // On real machines: --join the others, --cluster-key-file, and --gossip on an address that they reach.
      args: [
        "run",
        "--node-id",
        name,
        "--api",
        api.replace("http://", ""),
        "--gossip",
        env.GOSSIP ?? "127.0.0.1:7412",
      ],
      // SIGINT, then so long until SIGKILL: the sidecar hands over what only it has (--drain-millis, 10 s).
      kill_timeout: 12_000,
    },
    {
      name: "shop",
      script: "app/main.mjs",
      cwd: __dirname,
      exec_mode: "cluster",
      instances: 2,
      // The worker says "ready" when it listens, and gets so long to finish what it does.
      wait_ready: true,
      listen_timeout: 15_000,
      kill_timeout: 12_000,
      env: {
        MACHINE: name,
        HOST: env.HOST ?? "127.0.0.1",
        PORT: env.PORT ?? "3000",
        SIDETALK_API: api,
        SESSION_SECRET: env.SESSION_SECRET ?? "only for trying it out",
      },
    },
  ],
};
