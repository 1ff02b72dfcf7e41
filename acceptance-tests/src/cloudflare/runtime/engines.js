// One Worker with all engines behind KV, D1, R2 and queue bindings. `kv`, `d1` and `queues` are workerd's own; each
// entrypoint speaks the protocol of its binding and learns from its props which store is meant.
import kv, { KVNamespace } from "kv";
import D1, { D1Database } from "d1";
import Queue, { QueueShard } from "queues";
import { R2, R2Bucket } from "./r2.js";

export { D1, D1Database, KVNamespace, Queue, QueueShard, R2, R2Bucket };

// The engines of KV and of queues would both have their class in `env.SHARD`.
export const KV = {
  fetch(request, env, ctx) {
    return kv.fetch(request, { SHARD: env.KV_SHARD, BLOBS: env.BLOBS }, ctx);
  },
};

const PROPS = { KV: "namespace", D1: "database", R2: "bucket", Queue: "queue" };

// The API's way in: `/<entrypoint>/<key>/…` is what the binding to that store would ask at `/…`. And `/wake/<queue>/<n>`
// lets a shard see that its queue has a consumer now, which it would notice only with its next message.
export default {
  async fetch(request, env, ctx) {
    const origin = new URL(request.url).origin;
    const [, entrypoint, key] = request.url.slice(origin.length).split("/", 3);
    if (entrypoint === "wake") {
      const queue = decodeURIComponent(key);
      await env.SHARD.getByName(`${queue}#${request.url.split("/").at(-1)}`).call(queue, "/metrics");
      return new Response();
    }
    const rest = request.url.slice(`${origin}/${entrypoint}/${key}`.length);
    const engine = ctx.exports[entrypoint]({ props: { [PROPS[entrypoint]]: decodeURIComponent(key) } });
    return engine.fetch(new Request(`http://store${rest}`, request));
  },
};
