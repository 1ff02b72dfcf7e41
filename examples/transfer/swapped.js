export { Visitors as Orders, Orders as Visitors, default } from "./classes.js";
