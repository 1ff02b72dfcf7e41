import { DurableObject } from "cloudflare:workers";

/** The state of one game: whose turn it is. */
export class GameState extends DurableObject {
  async play() {
    const turn = ((await this.ctx.storage.get("turn")) ?? 0) + 1;
    await this.ctx.storage.put("turn", turn);
    return turn;
  }
}

export default {
  async fetch(request, env) {
    return new Response(`${await env.GAME.getByName("chess").play()}\n`);
  },
};
