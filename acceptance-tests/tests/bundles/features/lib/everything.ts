export * from "./counter";
export * as odd from "./odd";
export { even as renamed_even } from "./even";
const value = "renamed";
export { value as renamed };
export default "not part of a star";
