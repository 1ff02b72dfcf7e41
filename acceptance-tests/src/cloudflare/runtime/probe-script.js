{
  const listen = globalThis.addEventListener;
  const handlers = new Set();
  listen.call(globalThis, "fetch", (event) => {
    event.stopImmediatePropagation();
    event.respondWith(new Response(JSON.stringify({ default: { kind: "object", handlers: [...handlers] } })));
  });
  globalThis.addEventListener = (type, ...rest) => {
    handlers.add(type);
    return listen.call(globalThis, type, ...rest);
  };
}
