export default function greeting(name: string) {
  return `Hello, ${name}`;
}
