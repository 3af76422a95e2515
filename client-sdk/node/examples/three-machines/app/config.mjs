// The shop's settings, in the memory of every process.

const DEFAULTS = { banner: "Fresh from three machines.", discountPercent: 0 };

export async function openConfig(client) {
  let value = { ...DEFAULTS };
  const document = client.document("shop");
  const stop = new AbortController();
  void (async () => {
    for await (const event of client.watch({ kind: "documents", prefix: "shop", initial: true, signal: stop.signal })) {
      if (event.type === "change" && event.key === "shop") value = { ...DEFAULTS, ...event.value };
    }
  })();
  return {
    get value() {
      return value;
    },
    stale: false,
    merge: async (change) => void (await document.patch(change)),
    close: () => stop.abort(),
  };
}
