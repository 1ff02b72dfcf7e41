import { DurableObject } from "cloudflare:workers";

/** One user: every visit is a row in the user's own database. */
export class User extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS visits (path TEXT NOT NULL)");
  }

  visit(path) {
    this.sql.exec("INSERT INTO visits (path) VALUES (?)", path);
    return this.sql.exec("SELECT count(*) AS visits FROM visits").one().visits;
  }
}

export default {
  /** `?user=ada` chooses the user. */
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const user = env.USERS.getByName(searchParams.get("user") ?? "anonymous");
    return new Response(`${await user.visit(pathname)}\n`);
  },
};
