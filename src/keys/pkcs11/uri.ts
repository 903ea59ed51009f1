import { isUtf8 } from 'node:buffer';

/** A `pkcs11:` URI (RFC 7512) as far as it names a private key: its attributes, decoded. `id`: hex. */
export type Pkcs11Uri = {
  readonly token?: string;
  readonly serial?: string;
  readonly manufacturer?: string;
  readonly model?: string;
  readonly slot?: string;
  readonly object?: string;
  readonly id?: string;
  readonly modulePath?: string;
  readonly pinSource?: string;
};

export const pkcs11UriForm = 'pkcs11:token=LABEL;object=KEY;id=%0A%01?module-path=/PATH/MODULE.so&pin-source=/PATH/PIN';

const pathNames: Readonly<Record<string, keyof Pkcs11Uri>> = {
  token: 'token',
  serial: 'serial',
  manufacturer: 'manufacturer',
  model: 'model',
  'slot-id': 'slot',
  object: 'object',
  id: 'id',
};
const queryNames: Readonly<Record<string, keyof Pkcs11Uri>> = {
  'module-path': 'modulePath',
  'pin-source': 'pinSource',
};

/** pk11-pchar and pk11-qchar of section 2.3, percent-encoding included; `&` ends a query attribute, so it is none there. */
const pathValue = /^(?:[\w\-.~:[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*$/;
const queryValue = /^(?:[\w\-.~:[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*$/;

const bytesOf = (encoded: string): Buffer =>
  Buffer.from(
    encoded.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  );

/** Why a query attribute is not taken. */
const whyNot: Readonly<Record<string, string>> = {
  'pin-value':
    'must not hold a PIN (pin-value): configurations are copied and shown. Put it into a file and name that in pin-source or pinFile, ' +
    'or set pin from the environment',
  'module-name': 'must name the module by its path (module-path): where modules are looked for differs between systems',
};

const readPart = (
  part: string,
  separator: string,
  names: Readonly<Record<string, keyof Pkcs11Uri>>,
  allowed: RegExp,
): Pkcs11Uri | string => {
  const found: Record<string, string> = {};
  for (const attribute of part.split(separator)) {
    if (attribute === '') continue;
    const at = attribute.indexOf('=');
    const [name, value] = at === -1 ? [attribute, ''] : [attribute.slice(0, at), attribute.slice(at + 1)];
    const reason = Object.hasOwn(whyNot, name) ? whyNot[name] : undefined;
    if (reason !== undefined) return reason;
    if (name === 'type' && value === 'private' && names === pathNames) continue;
    const field = Object.hasOwn(names, name) ? names[name] : undefined;
    if (field === undefined) {
      const shown = /^[\w-]{1,32}$/.test(name) ? name : '(unreadable)';
      return `has the attribute ${shown}, which is not used here: take it out, the form is ${pkcs11UriForm}`;
    }
    if (found[field] !== undefined) return `has the attribute ${name} twice`;
    const bytes = bytesOf(value);
    if (!allowed.test(value) || bytes.length === 0 || (field !== 'id' && (!isUtf8(bytes) || bytes.includes(0)))) {
      return `has the attribute ${name} empty or not percent-encoded as RFC 7512 says; the form is ${pkcs11UriForm}`;
    }
    found[field] = bytes.toString(field === 'id' ? 'hex' : 'utf8');
  }
  return found;
};

/** `/run/pin` or `file:/run/pin` -> the path; undefined for anything else, such as a command. */
const pinPath = (source: string): string | undefined => {
  if (source.startsWith('/')) return source;
  const url = source.startsWith('file:') ? URL.parse(source) : null;
  if (url === null || url.host !== '' || url.search !== '' || url.hash !== '') return undefined;
  return url.pathname.includes('%') ? undefined : url.pathname;
};

/** Reads a reference; a text when it is refused, which says why and what the right form is. It shows no value. */
export const readPkcs11Uri = (uri: string): Pkcs11Uri | string => {
  if (!uri.startsWith('pkcs11:') || uri.startsWith('pkcs11://')) return `must be ${pkcs11UriForm}`;
  const [path = '', query = '', ...more] = uri.slice('pkcs11:'.length).split('?');
  const found = readPart(path, ';', pathNames, pathValue);
  if (typeof found === 'string') return found;
  const asked = readPart([query, ...more].join('?'), '&', queryNames, queryValue);
  if (typeof asked === 'string') return asked;
  const pinSource = asked.pinSource === undefined ? undefined : pinPath(asked.pinSource);
  if (asked.pinSource !== undefined && pinSource === undefined) {
    return 'must name a file in pin-source, as /PATH or file:/PATH; commands and other addresses are not used';
  }
  if (found.slot !== undefined && !/^(?:0|[1-9]\d{0,19})$/.test(found.slot))
    return 'must have a decimal number in slot-id';
  if (found.object === undefined && found.id === undefined)
    return `must name the key by object or id: ${pkcs11UriForm}`;
  return { ...found, ...asked, ...(pinSource === undefined ? {} : { pinSource }) };
};
