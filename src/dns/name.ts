/**
 * Domain names: between the wire (RFC 1035 §3.1, compressed as in §4.1.4) and text with dots.
 *
 * Text is exact: bytes that are no plain characters, dots inside labels and backslashes are escaped (`\.`, `\\`, `\000`,
 * RFC 1035 §5.1), so that two names with the same text are the same name. The root is `.`; others have no dot at the end.
 *
 * @module
 */
import { fromLatin1, type Reader, type Writer } from '../base/bytes.ts';
import { DnsError } from '../base/errors.ts';

/** A name on the wire, lengths of labels and the root included; RFC 1035 §2.3.4. */
export const MAX_NAME_BYTES = 255;
/** RFC 1035 §2.3.4. */
export const MAX_LABEL_BYTES = 63;
/** A name of 255 bytes has no more labels; pointers that lead to nothing but pointers are made to keep us busy. */
const MAX_POINTERS = 127;
/** Only so far do 14 bits reach. */
const MAX_POINTER = 0x3fff;
/** Nobody's name starts in the header. */
const HEADER_BYTES = 12;

/**
 * Reads a name, and follows its pointers. Each must lead back to before the part that it ends, so that there are no loops.
 *
 * @param message - Starts with the message, stands at the name.
 * @throws {DnsError} `Malformed`; {@link DecodeError} at the end of the message.
 */
export function readName(message: Reader): string {
  const labels: string[] = [];
  let length = 1;
  let pointers = 0;
  // Where reading goes on after the name, once a pointer has led elsewhere.
  let resumeAt: number | undefined;
  let partStart = message.pos;
  for (;;) {
    const first = message.u8();
    if (first === 0) break;
    if (first >= 0xc0) {
      const target = ((first & 0x3f) << 8) | message.u8();
      resumeAt ??= message.pos;
      if (target >= partStart || target < HEADER_BYTES || ++pointers > MAX_POINTERS)
        throw new DnsError('DnsError.Malformed', 'a name with a pointer that leads nowhere');
      message.pos = target;
      partStart = target;
      continue;
    }
    // 01 and 10 were extensions that nobody uses (RFC 6891 §5).
    if (first > MAX_LABEL_BYTES) throw new DnsError('DnsError.Malformed', 'a label of an unknown kind');
    length += 1 + first;
    if (length > MAX_NAME_BYTES) throw new DnsError('DnsError.Malformed', 'a name longer than 255 bytes');
    labels.push(escapeLabel(message.take(first)));
  }
  if (resumeAt !== undefined) message.pos = resumeAt;
  return labels.length === 0 ? '.' : labels.join('.');
}

/**
 * Writes names of one message, each as short as what was written before allows.
 *
 * The message must start at the beginning of the writer.
 */
export class NameWriter {
  readonly #message: Writer;
  /** Where the rest of a name, from some label on, was written. */
  readonly #written = new Map<string, number>();

  constructor(message: Writer) {
    this.#message = message;
  }

  /** @param name - With or without a dot at its end. @throws {DnsError} `Name` */
  write(name: string): void {
    const labels = toLabels(name);
    for (let i = 0; i < labels.length; i++) {
      const rest = labels.slice(i).map(escapeLabel).join('.');
      const known = this.#written.get(rest);
      if (known !== undefined) return this.#message.u16(0xc000 | known);
      if (this.#message.pos <= MAX_POINTER) this.#written.set(rest, this.#message.pos);
      this.#message.u8(labels[i]!.length);
      this.#message.put(labels[i]!);
    }
    this.#message.u8(0);
  }
}

/** True for names that DNS holds for the same: case and a dot at the end do not count (RFC 1035 §2.3.3). */
export function isSameName(a: string, b: string): boolean {
  return normalizeName(a) === normalizeName(b);
}

/** The labels of a name in lower case, still escaped; none for the root. */
export function labelsOf(name: string): string[] {
  return name === '.' ? [] : (normalizeName(name).match(/(?:\\[^]|[^.\\])+/g) ?? []);
}

/** Only ASCII has case in DNS. */
function normalizeName(name: string): string {
  const lower = name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return lower.length > 1 && /(?<!\\)\.$/.test(lower) ? lower.slice(0, -1) : lower;
}

/** @throws {DnsError} `Name` */
function toLabels(name: string): Uint8Array[] {
  const labels: Uint8Array[] = [];
  let label = '';
  let length = 1;
  const end = (): void => {
    if (label.length === 0 || label.length > MAX_LABEL_BYTES)
      throw new DnsError('DnsError.Name', `a label has 1 to ${MAX_LABEL_BYTES} bytes: ${name}`);
    length += 1 + label.length;
    labels.push(fromLatin1(label));
    label = '';
  };
  if (name === '.' || name === '') return labels;
  for (let i = 0; i < name.length; i++) {
    const character = name[i]!;
    if (character === '.') {
      end();
      if (i === name.length - 1) break;
    } else if (character === '\\') {
      const code = /^\d{3}/.exec(name.slice(i + 1, i + 4))?.[0];
      const escaped = code === undefined ? (name[i + 1] ?? '') : String.fromCharCode(Number(code));
      if (escaped === '' || escaped > '\xff')
        throw new DnsError('DnsError.Name', `an escape that means nothing: ${name}`);
      label += escaped;
      i += code === undefined ? 1 : 3;
    } else if (character > '\x7f') {
      throw new DnsError('DnsError.Name', `a name in Unicode is to be given in its ASCII form: ${name}`);
    } else {
      label += character;
    }
  }
  if (label !== '') end();
  if (length > MAX_NAME_BYTES)
    throw new DnsError('DnsError.Name', `longer than ${MAX_NAME_BYTES} bytes: ${name}`);
  return labels;
}

function escapeLabel(label: Uint8Array): string {
  let text = '';
  for (const byte of label) {
    if (byte <= 0x20 || byte >= 0x7f) text += `\\${byte.toString().padStart(3, '0')}`;
    else if (byte === 0x2e || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else text += String.fromCharCode(byte);
  }
  return text;
}
