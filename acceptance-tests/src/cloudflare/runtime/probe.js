// Says what the uploaded main module exports. The import line is put in front of this text.
import { DurableObject, WorkerEntrypoint, WorkflowEntrypoint } from "cloudflare:workers";

const HANDLERS = ["fetch", "scheduled", "queue", "email", "tail", "trace", "tailStream", "test", "connect"];

function handlers(value) {
  return HANDLERS.filter((name) => typeof value[name] === "function");
}

function describe(value) {
  if (typeof value === "function") {
    const alarm = typeof value.prototype?.alarm === "function";
    if (value.prototype instanceof DurableObject) return { kind: "durable_object", alarm };
    if (value.prototype instanceof WorkerEntrypoint) {
      return { kind: "worker_entrypoint", handlers: handlers(value.prototype) };
    }
    if (value.prototype instanceof WorkflowEntrypoint) return { kind: "workflow" };
    return value.prototype === undefined ? { kind: "other" } : { kind: "legacy_class", alarm };
  }
  if (typeof value === "object" && value !== null) {
    return { kind: "object", handlers: handlers(value) };
  }
  return { kind: "value" };
}

export default {
  fetch() {
    return Response.json(
      Object.fromEntries(Object.keys(upload).sort().map((name) => [name, describe(upload[name])])),
    );
  },
};
