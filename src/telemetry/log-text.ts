/** One JSON log line -> one line for people: time, level, message, the other fields; stacks on lines of their own. */
export const logText = (line: string): string => {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${show(value)}`);
  const clock = String(time).slice(11, 23);
  return `${clock} ${String(level).toUpperCase().padEnd(5)} ${printable(String(msg ?? '')).replaceAll('\n', '\\n')}${rest.join('')}\n${errorText(err)}`;
};

const show = (value: unknown): string =>
  typeof value === 'string' && /^[\w.:/@*-]+$/.test(value) ? value : printable(JSON.stringify(value));

/** Control characters could rewrite the terminal of whoever reads the log. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '?');

const errorText = (error: unknown): string => {
  if (typeof error !== 'object' || error === null) return '';
  const { stack, message, cause } = error as { stack?: unknown; message?: unknown; cause?: unknown };
  const indented = printable(String(stack ?? message)).replace(/^/gm, '    ');
  return `${indented}\n${errorText(cause)}`;
};
