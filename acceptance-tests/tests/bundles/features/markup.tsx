import type { FC } from "hono/jsx";

const Item: FC<{ text: string }> = ({ text, children }) => (
  <li class="item" data-long={`${text.length}`}>
    {text}
    {children}
  </li>
);

export function markup(): string {
  const items = ["one", "<two>"];
  return String(
    <>
      <ul>
        {items.map((text) => (
          <Item text={text}>!</Item>
        ))}
      </ul>
    </>,
  );
}
