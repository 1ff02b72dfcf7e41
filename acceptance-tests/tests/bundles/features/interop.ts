import whole, { named } from "./lib/common.cjs";
import * as namespace from "./lib/common.cjs";
import compiled, { other } from "./lib/compiled.cjs";

export async function interop() {
  const late = await import("./lib/common.cjs");
  return {
    whole,
    named,
    keys: Object.keys(namespace).filter((it) => it !== "module.exports").sort(),
    compiled: typeof compiled === "function" ? compiled() : compiled,
    other,
    late: late.named,
  };
}
