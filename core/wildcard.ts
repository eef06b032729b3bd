/** A pattern in which `*` stands for any run of characters, for a whole text. Several in a row are one, or fourteen of them would take a second a text. */
export const wildcard = (pattern: string): RegExp =>
  new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '.*')}$`);
