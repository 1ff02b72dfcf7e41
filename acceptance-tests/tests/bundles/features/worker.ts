import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import { assets } from "./assets";
import { builtins } from "./builtins";
import { classes } from "./classes";
import { interop } from "./interop";
import { language } from "./language";
import { modules } from "./modules";
import { markup } from "./markup";

interface Env {
  ROOMS: DurableObjectNamespace<Room>;
}

export class Room extends DurableObject<Env> {
  #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec("create table if not exists messages (text text)");
  }

  say(text: string): number {
    this.#sql.exec("insert into messages values (?)", text);
    return this.#sql.exec("select count(*) as n from messages").one().n as number;
  }

  all(): string[] {
    return [...this.#sql.exec("select text from messages")].map((row) => String(row.text));
  }

  async remind(): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now());
  }

  async alarm(): Promise<void> {
    this.say("alarm");
  }
}

class Hidden extends WorkerEntrypoint {
  double(n: number): number {
    return 2 * n;
  }
}
export { Hidden as Visible };
export * from "./lib/more";

const programs: Record<string, (env: Env) => unknown> = {
  assets,
  builtins,
  classes,
  interop,
  language,
  modules,
  markup,
  names: () => [Room.name, Hidden.name, (() => {}).name, programs.names.name],
  objects: async (env) => {
    const room = env.ROOMS.getByName("one");
    await room.say("hello");
    const count = await room.say("again");
    return [count, await room.all()];
  },
};

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const said: Record<string, unknown> = {};
    for (const [name, program] of Object.entries(programs)) {
      try {
        said[name] = await program(env);
      } catch (error) {
        said[name] = `failed: ${error}`;
      }
    }
    return Response.json(said);
  },
};
