// Runs the `scheduled` handler of the Worker that a request names.
export default {
  async fetch(request, env) {
    const { script, cron, time } = await request.json();
    const { outcome } = await env[script].scheduled({ cron, scheduledTime: new Date(time) });
    return Response.json({ outcome });
  },
};
