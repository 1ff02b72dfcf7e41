import { DurableObject } from "cloudflare:workers";
import { Hono } from "hono";
import { cors } from "hono/cors";
import { z } from "zod";

interface Env {
  COUNTERS: DurableObjectNamespace<Counter>;
}

export class Counter extends DurableObject<Env> {
  async add(amount: number): Promise<number> {
    const value = ((await this.ctx.storage.get<number>("value")) ?? 0) + amount;
    await this.ctx.storage.put("value", value);
    return value;
  }
}

const Amount = z.object({ amount: z.number().int().positive(), note: z.string().max(5).optional() });

const app = new Hono<{ Bindings: Env }>();
app.use("/counters/*", cors());
app.get("/", (c) => c.text("ready"));
app.get("/counters/:name", async (c) => c.json({ value: await c.env.COUNTERS.getByName(c.req.param("name")).add(0) }));
app.post("/counters/:name", async (c) => {
  const parsed = Amount.safeParse(await c.req.json());
  if (!parsed.success) {
    return c.json({ issues: parsed.error.issues.map((issue) => [issue.path.join("."), issue.code]) }, 400);
  }
  return c.json({ value: await c.env.COUNTERS.getByName(c.req.param("name")).add(parsed.data.amount) });
});
app.notFound((c) => c.text("nothing here", 404));

export default app;
