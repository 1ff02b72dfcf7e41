import { AsyncLocalStorage } from "node:async_hooks";
import { Buffer } from "buffer";
import path from "path";
import { inspect } from "node:util";
import events from "./lib/events.cjs";

export async function builtins() {
  const storage = new AsyncLocalStorage<string>();
  const stored = await storage.run("kept", async () => {
    await Promise.resolve();
    return storage.getStore();
  });
  return {
    stored,
    base64: Buffer.from("hello").toString("base64"),
    path: path.join("a", "..", "b"),
    inspected: inspect({ a: [1] }),
    events: events.emitted("x"),
    format: events.format("%s is %d", "one", 1),
    env: process.env.NODE_ENV,
    agent: navigator.userAgent,
  };
}
