import type { GuestBook } from "@/guest-book";
import welcome from "./welcome.txt";

/** Defined in `main.tf`. */
declare const STAGE: string;

interface Env {
  GUEST_BOOK: DurableObjectNamespace<GuestBook>;
}

export { GuestBook } from "@/guest-book";

export default {
  /** `/?name=Ada` signs the book, `/` reads it. */
  async fetch(request: Request, env: Env): Promise<Response> {
    const book = env.GUEST_BOOK.getByName("main");
    const name = new URL(request.url).searchParams.get("name");
    if (name) {
      await book.sign(name);
    }
    const names = await book.names();
    return new Response(`${welcome.trim()} (${STAGE}): ${names.join(", ")}\n`);
  },
} satisfies ExportedHandler<Env>;
