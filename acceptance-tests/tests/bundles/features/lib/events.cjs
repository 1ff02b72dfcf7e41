const { EventEmitter } = require("events");
const util = require("node:util");
let optional;
try {
  optional = require("not-installed");
} catch {
  optional = "absent";
}

exports.optional = optional;
exports.format = util.format;
exports.emitted = (value) => {
  const emitter = new EventEmitter();
  const seen = [];
  emitter.on("event", (it) => seen.push(it));
  emitter.emit("event", value);
  return seen;
};
