import { DurableObject } from "cloudflare:workers";

/** One chat room: it counts who has come in. */
export class ChatRoom extends DurableObject {
  async join() {
    const visitors = ((await this.ctx.storage.get("visitors")) ?? 0) + 1;
    await this.ctx.storage.put("visitors", visitors);
    return visitors;
  }
}

export default {
  /** Every path is a room of its own. */
  async fetch(request, env) {
    const room = env.ROOMS.getByName(new URL(request.url).pathname);
    return new Response(`${await room.join()}\n`);
  },
};
