// The shop's settings, in the memory of every process: read without waiting, changed for all of them.

const DEFAULTS = { banner: "Fresh from three machines.", discountPercent: 0 };

export async function openConfig(client) {
  const config = await client.live("shop");
  return {
    get value() {
      return { ...DEFAULTS, ...config.value };
    },
    /** The sidecar is away: the settings are those of before. */
    get stale() {
      return config.stale;
    },
    /** Each setting by itself: what another process changes at the same moment stays. */
    set: (name, value) => config.set(name, value),
    close: () => config.close(),
  };
}
