import { DurableObject } from "cloudflare:workers";
import schema from "./schema.sql";

export class GuestBook extends DurableObject {
  #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env);
    this.#sql.exec(schema);
  }

  sign(name: string): void {
    this.#sql.exec("insert into guests (name) values (?)", name);
  }

  names(): string[] {
    return this.#sql
      .exec<{ name: string }>("select name from guests order by id")
      .toArray()
      .map((guest) => guest.name);
  }
}
