// What a binding to a dispatch namespace is in `env`. The Workers of the namespace are bindings of this module.
class Missing {
  async fetch() {
    throw new Error("Worker not found.");
  }
}

export default function (env) {
  return {
    get(name) {
      // The prefix keeps names apart from what every object has.
      return env[`worker ${name}`] ?? new Missing();
    },
  };
}
