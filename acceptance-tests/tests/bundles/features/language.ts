const enum Level {
  Low = 1,
  High = Low << 2,
}

enum Color {
  Red,
  Green = "green",
}

namespace Geometry {
  export const unit = 2;
  export namespace Deep {
    export const square = (n: number) => n * n * unit;
  }
}

const started = await Promise.resolve("awaited at the top");

function* counted(to: number) {
  for (let n = 0; n < to; n++) yield n;
}

class Resource implements Disposable {
  constructor(readonly log: string[]) {}

  [Symbol.dispose]() {
    this.log.push("disposed");
  }
}

function used(): string[] {
  const log: string[] = [];
  {
    using resource = new Resource(log);
    resource.log.push("used");
  }
  log.push("after");
  return log;
}

export async function language() {
  const source = { a: 1, nested: { b: null as null | { c: number } } };
  const { a, ...rest } = source;
  let assigned: number | undefined;
  assigned ??= 7;
  const tag = (parts: TemplateStringsArray, ...values: unknown[]) => parts.raw.join("|") + values.join();
  async function* numbers() {
    yield 1;
    yield 2;
  }
  const collected = [];
  for await (const n of numbers()) collected.push(n);
  return {
    level: Level.High,
    color: [Color.Red, Color[0], Color.Green],
    geometry: Geometry.Deep.square(3),
    started,
    counted: [...counted(3)],
    used: used(),
    a,
    rest,
    optional: source.nested.b?.c ?? "nothing",
    assigned,
    tagged: tag`one\n${1}two${2}`,
    collected,
    satisfied: { x: 1 } satisfies Record<string, number>,
    big: String(2n ** 64n),
    regexp: "2026-11-25".match(/(?<year>\d{4})-(?<month>\d\d)/u)?.groups?.month,
    grouped: Object.groupBy([1, 2, 3], (n) => (n % 2 ? "odd" : "even")),
    labelled: (() => {
      outer: for (const i of [1, 2]) for (const j of [1, 2]) if (i * j === 2) break outer;
      return "left";
    })(),
  };
}
