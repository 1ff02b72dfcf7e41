abstract class Shape {
  static #count = 0;
  static readonly kinds: string[] = [];

  static {
    Shape.kinds.push("shape");
  }

  constructor(
    protected readonly name: string,
    public sides = 0,
  ) {
    Shape.#count += 1;
  }

  abstract area(): number;

  get described(): string {
    return `${this.name} of ${this.area()}`;
  }

  static get count() {
    return Shape.#count;
  }
}

class Square extends Shape {
  #side: number;

  constructor(side: number) {
    super("square", 4);
    this.#side = side;
  }

  override area() {
    return this.#side ** 2;
  }

  static is(value: object): value is Square {
    return #side in value;
  }
}

const Named = class Inner {
  inner() {
    return Inner.name;
  }
};
const Anonymous = class {};
const assigned = { Member: class {} };

export function classes() {
  const square = new Square(3);
  return {
    described: square.described,
    sides: square.sides,
    count: Shape.count,
    kinds: Shape.kinds,
    is: [Square.is(square), Square.is({})],
    names: [Square.name, Named.name, new Named().inner(), Anonymous.name, assigned.Member.name],
  };
}
