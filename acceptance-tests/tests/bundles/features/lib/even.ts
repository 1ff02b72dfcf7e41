import { odd } from "./odd";

export function even(n: number): boolean {
  return n === 0 ? true : odd(n - 1);
}
