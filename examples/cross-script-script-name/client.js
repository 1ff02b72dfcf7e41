export default {
  /** Counts in the host's objects; the class is not in this Worker's code. */
  async fetch(request, env) {
    return new Response(`${await env.SHARED_COUNTER.getByName("shared").increment()}\n`);
  },
};
