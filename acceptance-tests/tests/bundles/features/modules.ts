import greeting from "#greeting";
import { even } from "./lib/even";
import { counter, increment } from "./lib/counter";
import * as everything from "./lib/everything";
import { order } from "./lib/order";
import "./lib/first";
import "./lib/second";

export async function modules() {
  const before = counter;
  increment();
  const late = await import("./lib/late");
  return {
    greeting: greeting("you"),
    even: [even(10), even(7)],
    counter: [before, counter],
    everything: Object.keys(everything).sort(),
    renamed: everything.renamed,
    order,
    late: [late.default, late.sum(1, 2)],
  };
}
