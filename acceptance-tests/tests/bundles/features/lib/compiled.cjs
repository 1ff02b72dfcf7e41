"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.other = void 0;
exports.other = "other";
exports.default = function compiled() {
  return "compiled default";
};
