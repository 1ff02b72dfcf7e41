import Ajv from "ajv";
import { addDays, format, parseISO } from "date-fns";
import { buildSchema, graphql } from "graphql";
import { Hono } from "hono";
import { SignJWT, jwtVerify } from "jose";
import _ from "lodash";
import pg from "pg";
import { useMemo } from "react";
import { renderToString } from "react-dom/server";
import { z } from "zod";

const schema = buildSchema("type Query { hello(name: String!): String }");
const key = new TextEncoder().encode("a key that is only good for tests");

function Page({ names }: { names: string[] }) {
  const sorted = useMemo(() => _.sortBy(names), [names]);
  return (
    <ul>
      {sorted.map((name) => (
        <li key={name}>{name}</li>
      ))}
    </ul>
  );
}

const app = new Hono();
app.get("/ajv", (c) => c.json(typeof new Ajv().compile));
app.get("/dates", (c) => c.text(format(addDays(parseISO("2026-02-27"), 2), "yyyy-MM-dd EEEE")));
app.get("/graphql", async (c) =>
  c.json(await graphql({ schema, source: '{ hello(name: "you") }', rootValue: { hello: (it: { name: string }) => `hi ${it.name}` } })),
);
app.get("/jose", async (c) => {
  const token = await new SignJWT({ sub: "me" }).setProtectedHeader({ alg: "HS256" }).sign(key);
  return c.json([token, (await jwtVerify(token, key)).payload]);
});
app.get("/lodash", (c) => c.json(_.chunk(_.range(7), 3)));
app.get("/pg", (c) => c.json([typeof pg.Pool, pg.types.getTypeParser(23)("42"), new pg.Query("select 1").text]));
app.get("/react", (c) => c.html(renderToString(<Page names={["b", "a"]} />)));
app.get("/zod", (c) => c.json(z.array(z.email()).safeParse(["a@example.com", "b"]).error?.issues ?? null));

export default app;
