/**
 * What is in SRV records: where a service is (RFC 2782).
 *
 * @module
 */
import { DecodeError, Reader, Writer } from '../base/bytes.ts';
import { DnsError } from '../base/errors.ts';
import { NameWriter, readName } from './name.ts';

/** The data of an SRV record. */
export interface SrvData {
  /** The lowest one is to be tried first. */
  readonly priority: number;
  /** Among those of one priority: how often. */
  readonly weight: number;
  readonly port: number;
  /** Whose address records say where; text as `name.ts` has it. */
  readonly target: string;
}

/** The target is written in full, as RFC 2782 asks. @throws {DnsError} `Name` */
export function encodeSrv({ priority, weight, port, target }: SrvData): Uint8Array {
  const name = new Writer();
  new NameWriter(name).write(target);
  const writer = new Writer();
  for (const value of [priority, weight, port]) writer.u16(value);
  writer.put(name.copy());
  return writer.copy();
}

/**
 * Reads the data of an SRV record. Its target may be compressed all the same: multicast DNS allows it (RFC 6762 §18.14).
 *
 * @param data - A view into `message`, as `decodeDnsMessage` returns it.
 * @throws {DnsError} `Malformed`
 */
export function decodeSrv(message: Uint8Array, data: Uint8Array): SrvData {
  const start = data.byteOffset - message.byteOffset;
  const reader = new Reader(message, start);
  try {
    const [priority, weight, port] = [reader.u16(), reader.u16(), reader.u16()];
    const target = readName(reader);
    if (reader.pos !== start + data.length)
      throw new DnsError('DnsError.Malformed', 'an SRV record with another length than its data');
    return { priority, weight, port, target };
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new DnsError('DnsError.Malformed', 'an SRV record that ends early', { cause });
  }
}
