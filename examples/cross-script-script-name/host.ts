import { DurableObject } from "cloudflare:workers";

interface Env {
  SHARED_COUNTER: DurableObjectNamespace<SharedCounter>;
}

export class SharedCounter extends DurableObject<Env> {
  async increment(): Promise<number> {
    const count = ((await this.ctx.storage.get<number>("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    return new Response(`${await env.SHARED_COUNTER.getByName("shared").increment()}\n`);
  },
};
