// Only the type: the class runs in the other Worker.
import type { SharedCounter } from "./host";

interface Env {
  SHARED_COUNTER: DurableObjectNamespace<SharedCounter>;
}

export default {
  /** Counts in the host's objects; the class is not in this Worker's code. */
  async fetch(request: Request, env: Env): Promise<Response> {
    return new Response(`${await env.SHARED_COUNTER.getByName("shared").increment()}\n`);
  },
};
