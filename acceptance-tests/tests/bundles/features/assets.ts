import text from "./assets/note.txt";
import same from "./lib/note.txt";
import page from "./assets/page.html";
import query from "@lib/query.sql";
import data from "./assets/raw.bin";
import add from "./assets/add.wasm";
import settings from "./assets/settings.json" with { type: "json" };

export async function assets() {
  const instance = await WebAssembly.instantiate(add);
  const late = await import("./assets/late.txt");
  return {
    text,
    same: same === text,
    page,
    query,
    data: [...new Uint8Array(data)],
    sum: (instance.exports.add as (a: number, b: number) => number)(40, 2),
    late: late.default,
    settings,
  };
}
