const log: string[] = [];

function noted(label: string) {
  log.push(`make ${label}`);
  return (target: any, key?: string, descriptor?: PropertyDescriptor | number) => {
    log.push(`apply ${label} to ${key ?? target.name ?? "constructor"} ${typeof descriptor}`);
  };
}

function doubled(_target: object, _key: string, descriptor: PropertyDescriptor) {
  const method = descriptor.value;
  descriptor.value = function (this: unknown, ...all: unknown[]) {
    return 2 * method.apply(this, all);
  };
}

@noted("class")
class Service {
  @noted("field") field = 3;

  @noted("method")
  @doubled
  twice(@noted("parameter") n: number): number {
    return n + this.field;
  }

  @noted("accessor")
  get value() {
    return this.field;
  }
}

export default {
  fetch() {
    const service = new Service();
    return Response.json([log, service.twice(4), service.value, Service.name]);
  },
};
