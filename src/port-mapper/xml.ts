/**
 * Reads the little XML that routers speak: elements, text, CDATA. Attributes and namespaces are passed over; there are no
 * document types, and so no entities of a document's own that could grow.
 *
 * @module
 */
import { PortMapError } from './fault.ts';

/** Descriptions are some ten levels deep. */
const MAX_DEPTH = 32;
/** The longest real descriptions have some hundred elements. */
const MAX_ELEMENTS = 4_096;

const NAME = /[^\s/>]+/y;
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** An element. */
export interface XmlElement {
  /** Without the prefix of its namespace. */
  readonly name: string;
  /** All text directly inside, without white space around. */
  readonly text: string;
  readonly children: readonly XmlElement[];
}

interface OpenElement {
  readonly name: string;
  text: string;
  readonly children: XmlElement[];
}

/** The first child of that name. */
export function childOf(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name);
}

/**
 * Reads a document and returns its root. Time and memory are linear in its length.
 * @throws {PortMapError} `malformed`; `tooLarge` when it is too deep or has too many elements.
 */
export function parseXml(text: string): XmlElement {
  const document: OpenElement = { name: '', text: '', children: [] };
  const open: OpenElement[] = [document];
  let count = 0;
  let at = 0;
  while (at < text.length) {
    const tag = text.indexOf('<', at);
    const parent = open.at(-1)!;
    parent.text += unescape(text.slice(at, tag < 0 ? undefined : tag));
    if (tag < 0) break;
    if (text.startsWith('<!--', tag)) at = after(text, '-->', tag + 4);
    else if (text.startsWith('<?', tag)) at = after(text, '?>', tag + 2);
    else if (text.startsWith('<![CDATA[', tag)) {
      at = after(text, ']]>', tag + 9);
      parent.text += text.slice(tag + 9, at - 3);
    } else if (text[tag + 1] === '!') throw new PortMapError('malformed', 'XML: a document type');
    else if (text[tag + 1] === '/') {
      at = after(text, '>', tag + 2);
      const name = text.slice(tag + 2, at - 1).trim();
      if (parent === document || localName(name) !== parent.name)
        throw new PortMapError('malformed', 'XML: an end tag without its start');
      open.pop();
      close(open.at(-1)!, parent);
    } else {
      if (++count > MAX_ELEMENTS || open.length > MAX_DEPTH)
        throw new PortMapError('tooLarge', 'XML: too many or too deep elements');
      at = endOfTag(text, tag + 1);
      const element = { name: localName(nameAt(text, tag + 1)), text: '', children: [] };
      if (text[at - 2] === '/') close(parent, element);
      else open.push(element);
    }
  }
  const [root] = document.children;
  if (open.length !== 1 || document.children.length !== 1 || document.text.trim() !== '')
    throw new PortMapError('malformed', 'XML: not exactly one root that ends');
  return root!;
}

function close(parent: OpenElement, { name, text, children }: OpenElement): void {
  parent.children.push({ name, text: text.trim(), children });
}

function after(text: string, end: string, from: number): number {
  const at = text.indexOf(end, from);
  if (at < 0) throw new PortMapError('malformed', `XML: no ${end}`);
  return at + end.length;
}

/** Index after the `>` of a start tag; quoted values may contain one. */
function endOfTag(text: string, from: number): number {
  let quote = '';
  for (let at = from; at < text.length; at++) {
    const char = text[at]!;
    if (quote !== '') {
      if (char === quote) quote = '';
    } else if (char === '>') return at + 1;
    else if (char === '"' || char === "'") quote = char;
  }
  throw new PortMapError('malformed', 'XML: a tag that does not end');
}

function nameAt(text: string, at: number): string {
  NAME.lastIndex = at;
  const name = NAME.exec(text)?.[0];
  if (name === undefined) throw new PortMapError('malformed', 'XML: a tag without a name');
  return name;
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

/** What cannot be a character stays as it is. */
function unescape(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(ENTITY, (whole, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return ENTITIES[name]!;
    const code = decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal);
    return code <= 0x10_ffff ? String.fromCodePoint(code) : whole;
  });
}

/** Text for between two tags. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (char) => (char === '&' ? '&amp;' : char === '<' ? '&lt;' : '&gt;'));
}
