/**
 * What may be shown of contexts and events: plain data only. A key, a payload or an engine object that strays into a context
 * becomes the name of its kind, whatever it holds.
 *
 * @module
 */
import { EndpointId } from '../base/endpoint-id.ts';
import { RelayUrl } from '../base/relay-url.ts';
import { toAddr } from '../base/socket-addr.ts';

/** Longer texts are cut, characters. */
export const MAX_TEXT_LENGTH = 256;
/** Further items of an array, and further fields of an object, are only counted. */
export const MAX_ITEMS = 16;
/** More numbers from 0 to 255 in a row than this are taken for bytes. */
export const MAX_SMALL_NUMBERS = 8;
/** Objects in objects, at most. */
export const MAX_DEPTH = 4;

/** Data that JSON can hold. */
export type Plain =
  string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain | undefined };

const SECRET_NAME = /secret|token|password|private|authori[sz]ation|credential/i;
const Addr = toAddr('127.0.0.1', 0).constructor as new () => { toString(): string };

/** Public by nature, and each is a text. */
const isShown = (value: object): boolean =>
  value instanceof EndpointId || value instanceof RelayUrl || value instanceof Addr;

/** A value as plain data. Reads no getter of a class and calls no `toJSON`. */
export function toPlain(value: unknown, depth = 0): Plain {
  switch (typeof value) {
    case 'string':
      return plainText(value);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'boolean':
      return value;
    case 'bigint':
      return plainText(String(value));
    case 'undefined':
      return null;
    case 'object':
      return value === null ? null : plainObject(value, depth);
    default:
      return `[${typeof value}]`;
  }
}

function plainText(text: string): string {
  // User names and passwords in addresses of relays and proxies.
  const clean = text.replace(/:\/\/[^/@\s]*@/g, '://…@');
  return clean.length <= MAX_TEXT_LENGTH ? clean : `${clean.slice(0, MAX_TEXT_LENGTH)}…`;
}

function plainObject(value: object, depth: number): Plain {
  if (isShown(value)) return plainText((value as RelayUrl).toString());
  if (value instanceof Error) return `${value.name}: ${plainText(value.message)}`;
  const isArray = Array.isArray(value);
  if (!isArray && !isRecord(value)) return `[${kindOf(value)}]`;
  if (depth >= MAX_DEPTH) return '[…]';
  if (isArray) {
    if (value.length > MAX_SMALL_NUMBERS && value.every(isSmallNumber)) return `[${value.length} numbers]`;
    const items = value.slice(0, MAX_ITEMS).map((item: unknown) => toPlain(item, depth + 1));
    return value.length > MAX_ITEMS ? [...items, `… ${value.length - MAX_ITEMS} more`] : items;
  }
  const fields: [string, Plain][] = [];
  const names = Object.keys(value);
  for (const name of names.slice(0, MAX_ITEMS)) {
    const field = (value as Record<string, unknown>)[name];
    if (field === undefined || typeof field === 'function') continue;
    fields.push([name, SECRET_NAME.test(name) ? '[hidden]' : toPlain(field, depth + 1)]);
  }
  if (names.length > MAX_ITEMS) fields.push(['…', names.length - MAX_ITEMS]);
  return Object.fromEntries(fields);
}

/** Made by braces: its prototype is the one that all others come from, of whichever realm. */
function isRecord(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype === null || Object.hasOwn(prototype, 'hasOwnProperty');
}

const isSmallNumber = (item: unknown): boolean =>
  typeof item === 'number' && Number.isInteger(item) && item >= 0 && item <= 255;

function kindOf(value: object): string {
  const { constructor } = value as { constructor?: { name?: string } };
  return constructor?.name ?? 'object';
}
