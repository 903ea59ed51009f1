/**
 * JSON text -> the same JSON, in which characters of control and format, by which a terminal may be made to do things, stand as escapes.
 * They can only be in strings: line ends and tabs between tokens stay.
 */
export const visibleJson = (json: string): string =>
  json.replace(/[\p{Cc}\p{Cf}]/gu, (character) =>
    /[\t\r\n]/.test(character)
      ? character
      : Array.from({ length: character.length }, (_, at) => escapeOf(character.charCodeAt(at))).join(''),
  );

const escapeOf = (unit: number): string => `\\u${unit.toString(16).padStart(4, '0')}`;
