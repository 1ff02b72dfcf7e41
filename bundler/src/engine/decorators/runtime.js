function $$_bound(object, key) {
	const { Reflect } = globalThis;
	const decorator = object[key];
	return typeof decorator === "function" ? (...given) => Reflect.apply(decorator, object, given) : decorator;
}
function $$_note(list, decorators, key, kind, isStatic) {
	const { Reflect } = globalThis;
	const [name] = Reflect.ownKeys({ [key]: 0 });
	list.push({ decorators, name, kind, isStatic });
	return name;
}
function $$_apply(target, list) {
	const { Object, Reflect, String, Symbol, TypeError } = globalThis;
	const symbol = Symbol.metadata ?? Symbol.for("Symbol.metadata");
	const metadata = Object.create(Object.getPrototypeOf(target)?.[symbol] ?? null);
	const initializers = [];
	list.initializers = [];
	for (const turn of [true, false]) {
		for (const { decorators, name, kind, isStatic } of list) {
			if (isStatic !== turn) continue;
			const home = isStatic ? target : target.prototype;
			const part = { method: "value", getter: "get", setter: "set" }[kind];
			const descriptor = Object.getOwnPropertyDescriptor(home, name);
			for (const decorator of decorators.reverse()) {
				let finished = false;
				const access = { has: (object) => name in object };
				if (kind === "setter") access.set = (object, value) => { object[name] = value; };
				else access.get = (object) => object[name];
				const addInitializer = (initializer) => {
					if (finished) throw new TypeError("addInitializer can only be called while the decorator runs");
					if (typeof initializer !== "function") throw new TypeError("An initializer must be a function");
					(isStatic ? initializers : list.initializers).push(initializer);
				};
				const context = { kind, name, static: isStatic, private: false, access, addInitializer, metadata };
				let result;
				try {
					result = decorator(descriptor[part], context);
				} finally {
					finished = true;
				}
				if (result === undefined) continue;
				if (typeof result !== "function") throw new TypeError(`A decorator of ${String(name)} returned something other than a function or undefined`);
				descriptor[part] = result;
			}
			Object.defineProperty(home, name, descriptor);
		}
	}
	Object.defineProperty(target, symbol, { value: metadata, writable: true, enumerable: true, configurable: true });
	for (const initializer of initializers) Reflect.apply(initializer, target, []);
}
function $$_start(instance, list) {
	const { Reflect } = globalThis;
	for (const initializer of list.initializers) Reflect.apply(initializer, instance, []);
}
