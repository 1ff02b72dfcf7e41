import { even } from "./even";

export const odd = (n: number): boolean => (n === 0 ? false : even(n - 1));
