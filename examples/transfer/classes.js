import { DurableObject } from "cloudflare:workers";

class Counter extends DurableObject {
  async count(what) {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return `${what} ${count}`;
  }
}

/** The objects of the stable ID `visitors`, whatever their class is called. */
export class Visitors extends Counter {
  add() {
    return this.count("visitor");
  }
}

/** The objects of the stable ID `orders`. */
export class Orders extends Counter {
  add() {
    return this.count("order");
  }
}

export default {
  async fetch(request, env) {
    const namespace = new URL(request.url).pathname === "/orders" ? env.ORDERS : env.VISITORS;
    return new Response(`${await namespace.getByName("all").add()}\n`);
  },
};
