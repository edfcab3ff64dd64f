const SVG = "http://www.w3.org/2000/svg";

/** Makes an element without parsing markup, so the text of a message can never become HTML. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const ICONS = {
  wave: "M3 9c3-4 6-4 9 0s6 4 9 0M3 16c3-4 6-4 9 0s6 4 9 0",
  send: "M12 19V5M5.5 11.5 12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  clock: "M12 7.5V12l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18",
  check: "m5 12.5 4.5 4.5L19 7.5",
  up: "M12 20V6M6.5 11 12 5.5 17.5 11",
  down: "M12 5v14M6 13l6 6 6-6",
  alert: "M12 8v5M12 16.5v.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18",
} as const;

/** Names of the icons. */
export type IconName = keyof typeof ICONS;

/**
 * An icon in the colour of the text. It is hidden from screen readers, because a text beside it
 * says the same.
 */
export function icon(name: IconName, size = 20): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const set = (on: SVGElement, attributes: Record<string, string>) => {
    for (const [key, value] of Object.entries(attributes)) on.setAttribute(key, value);
  };
  set(svg, { viewBox: "0 0 24 24", width: String(size), height: String(size), fill: "none", "aria-hidden": "true" });
  const path = document.createElementNS(SVG, "path");
  const line = { stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round" };
  set(path, { d: ICONS[name], ...line });
  svg.append(path);
  return svg;
}
