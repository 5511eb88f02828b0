/**
 * Somebody between two engines who knows all keys: opens packets, changes their frames, and seals them again, so that the
 * changes authenticate.
 *
 * @module
 */
import { concatBytes, fromHex, Writer } from '../../src/base/bytes.ts';
import { LOCAL_CID_LENGTH } from '../../src/quic/connection-host.ts';
import type { PathId, Side } from '../../src/quic/engine.ts';
import {
  decodeLongHeader,
  finishLongHeader,
  writeLongHeader,
  writeShortHeader,
  type NumberedHeader,
} from '../../src/quic/wire/packet.ts';
import { PacketKeys } from '../../src/quic/wire/protection.ts';
import { openPacket, sealPacket } from '../support/sealed-packet.ts';
import type { Script } from './script.ts';

const MAX_PATHS = 4;
const MAX_GENERATIONS = 4;
const TAG_BYTES = 16;
const MIN_INITIAL_DATAGRAM = 1_200;
const SUITE = 'TLS_AES_128_GCM_SHA256';

type Level = NumberedHeader['type'] | 'oneRtt';

/** A packet without its protection. */
interface OpenedPacket {
  readonly level: Level;
  readonly keys: PacketKeys;
  readonly path: PathId;
  readonly number: number;
  readonly pnLength: 1 | 2 | 3 | 4;
  readonly keyPhase: 0 | 1;
  readonly header: NumberedHeader | undefined;
  readonly dcid: Uint8Array;
  readonly payload: Uint8Array;
}

/** What a datagram becomes. */
export class Tamperer {
  /** By `side level`; of 1-RTT all generations in order. */
  readonly #keys = new Map<string, PacketKeys[]>();
  readonly #largest = new Map<string, number>();

  /** Takes a line of a key log (NSS format). */
  readonly keyLog = (line: string): void => {
    const [label, , secret] = line.split(' ') as [string, string, string];
    const match = /^(CLIENT|SERVER)_(HANDSHAKE|EARLY)?_?TRAFFIC_SECRET/.exec(label);
    if (match === null) return;
    const side: Side = match[1] === 'CLIENT' ? 'client' : 'server';
    const level: Level = match[2] === 'HANDSHAKE' ? 'handshake' : match[2] === 'EARLY' ? 'zeroRtt' : 'oneRtt';
    this.#keys.set(`${side} ${level}`, [PacketKeys.fromSecret(SUITE, fromHex(secret))]);
  };

  /** The client's first datagram names the Initial keys (RFC 9001 §5.2). */
  learnInitial(datagram: Uint8Array): void {
    const header = decodeLongHeader(datagram, 0, datagram.length);
    if (header === undefined || this.#keys.has('client initial')) return;
    const { read, write } = PacketKeys.initial(header.dcid, 'client');
    this.#keys.set('client initial', [write]);
    this.#keys.set('server initial', [read]);
  }

  /** Replaces a piece of the frames of one packet; the rest of the datagram stays. */
  changeFrames(from: Side, datagram: Uint8Array, script: Script): Uint8Array {
    const packets = this.#open(from, datagram);
    const chosen = packets[script.u8() % Math.max(packets.length, 1)];
    if (chosen === undefined) return datagram;
    const { payload } = chosen;
    const at = script.u16() % (payload.length + 1);
    const remove = script.u8();
    const insert = script.take(script.u8());
    const changed = concatBytes(
      payload.subarray(0, at),
      insert,
      payload.subarray(Math.min(payload.length, at + remove)),
    );
    const sealed = packets.map((packet) =>
      this.#seal(packet === chosen ? { ...packet, payload: changed } : packet),
    );
    return padded(chosen, concatBytes(...sealed));
  }

  /** The packets of one level say everything twice. */
  repeatFrames(from: Side, datagram: Uint8Array, level: Level): Uint8Array {
    const packets = this.#open(from, datagram).map((packet) =>
      packet.level === level ? { ...packet, payload: concatBytes(packet.payload, packet.payload) } : packet,
    );
    return concatBytes(...packets.map((packet) => this.#seal(packet)));
  }

  /** A datagram of one more packet of the same level, with frames from the script. */
  inject(from: Side, datagram: Uint8Array, script: Script): Uint8Array | undefined {
    const packets = this.#open(from, datagram);
    const template = packets[script.u8() % Math.max(packets.length, 1)];
    if (template === undefined) return undefined;
    const number = template.number + 1 + script.u8();
    const flags = script.u8();
    const payload = script.take(script.u16() % 1_200);
    const packet: OpenedPacket = { ...template, number, pnLength: (flags & 8) === 0 ? 2 : 4, payload };
    const sealed = this.#seal(packet, flags);
    return (flags & 0x80) === 0 ? padded(packet, sealed) : sealed;
  }

  #open(from: Side, datagram: Uint8Array): OpenedPacket[] {
    const packets: OpenedPacket[] = [];
    for (let at = 0; at < datagram.length;) {
      const isLong = (datagram[at]! & 0x80) !== 0;
      const header = isLong ? decodeLongHeader(datagram, at, datagram.length) : undefined;
      if (isLong && (header === undefined || header.type === 'retry' || header.type === 'versionNegotiation'))
        break;
      const long = header as NumberedHeader | undefined;
      const end = long?.end ?? datagram.length;
      const opened = this.#openOne(from, datagram.slice(at, end), long, at);
      if (opened !== undefined) packets.push(opened);
      at = end;
    }
    return packets;
  }

  #openOne(
    from: Side,
    packet: Uint8Array,
    header: NumberedHeader | undefined,
    start: number,
  ): OpenedPacket | undefined {
    const level = header?.type ?? 'oneRtt';
    const pnOffset = header === undefined ? 1 + LOCAL_CID_LENGTH : header.pnOffset - start;
    const generations = this.#keys.get(`${from} ${level}`) ?? [];
    for (let generation = 0; generation < Math.min(generations.length, MAX_GENERATIONS); generation++) {
      const keys = generations[generation]!;
      if (level === 'oneRtt' && generation === generations.length - 1)
        generations.push(keys.withSecret(keys.nextSecret()));
      for (let path = 0; path < (level === 'oneRtt' ? MAX_PATHS : 1); path++) {
        const space = `${from} ${level} ${path}`;
        const opened = openPacket(keys, packet, pnOffset, path, this.#largest.get(space) ?? -1);
        if (opened.payload === undefined) continue;
        this.#largest.set(space, Math.max(opened.packetNumber, this.#largest.get(space) ?? -1));
        return {
          level,
          keys,
          path,
          number: opened.packetNumber,
          pnLength: (opened.header.length - pnOffset) as OpenedPacket['pnLength'],
          keyPhase: (generation & 1) as 0 | 1,
          header,
          dcid: header?.dcid ?? packet.slice(1, pnOffset),
          payload: opened.payload,
        };
      }
    }
    return undefined;
  }

  /** @param flags - 1: reserved bits are set; 2: a token where there was none; 4: another source connection id (8: see inject). */
  #seal(packet: OpenedPacket, flags = 0): Uint8Array {
    const { keys, path, number, pnLength, keyPhase, header, dcid, payload } = packet;
    const w = new Writer();
    if (header === undefined) {
      writeShortHeader(w, dcid, number, pnLength, keyPhase);
      if ((flags & 1) !== 0) w.bytes[0]! |= 0x18;
      return sealPacket(keys, w.copy(), payload, path, number);
    }
    const token =
      header.type === 'initial' ? ((flags & 2) !== 0 ? Uint8Array.of(1) : header.token) : undefined;
    const scid = (flags & 4) !== 0 ? Uint8Array.of(9) : header.scid;
    const lengthAt = writeLongHeader(w, header.type, dcid, scid, token, number, pnLength);
    const bytes = w.copy();
    finishLongHeader(bytes, lengthAt, pnLength + payload.length + TAG_BYTES);
    if ((flags & 1) !== 0) bytes[0]! |= 0x0c;
    return sealPacket(keys, bytes, payload, path, number);
  }
}

/** Datagrams with an Initial must not shrink (RFC 9000 §14.1). */
function padded(packet: OpenedPacket, bytes: Uint8Array): Uint8Array {
  if (packet.level !== 'initial' || bytes.length >= MIN_INITIAL_DATAGRAM) return bytes;
  return concatBytes(bytes, new Uint8Array(MIN_INITIAL_DATAGRAM - bytes.length));
}
