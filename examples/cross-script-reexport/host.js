import { DurableObject } from "cloudflare:workers";

export class SharedCounter extends DurableObject {
  async increment() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}

export default {
  async fetch(request, env) {
    return new Response(`${await env.SHARED_COUNTER.getByName("shared").increment()}\n`);
  },
};
