export { Visitors, Orders, default } from "./classes.js";
