/**
 * One link on which everybody hears everybody, in virtual time: a multicast group of each family, who sends included.
 *
 * @module
 */
import type { Addr } from '../../src/base/socket-addr.ts';
import type { MulticastRequest, MulticastTransport } from '../../src/transport/datagram.ts';
import type { SimClock } from './sim-clock.ts';

/** A datagram as it was sent. */
export interface SentToAll {
  readonly at: number;
  readonly family: 4 | 6;
  /** Who sent it. */
  readonly from: string;
  readonly data: Uint8Array;
}

class SimMember implements MulticastTransport {
  onDatagram: ((data: Uint8Array, from: Addr) => void) | undefined;
  sendErrors = 0;
  lastError: unknown;
  joinError: unknown;
  rejoined = 0;
  readonly addr: Addr;
  readonly #link: SimLink;

  constructor(link: SimLink, addr: Addr) {
    this.#link = link;
    this.addr = addr;
  }

  send(data: Uint8Array): void {
    if (this.#link.failing.has(this.addr.ip)) {
      this.sendErrors++;
      this.lastError = new Error('ENETUNREACH');
      return;
    }
    this.#link.send(this.addr, data);
  }

  rejoin(): boolean {
    this.rejoined++;
    const isBroken = this.#link.broken.has(this.addr.family);
    this.joinError = isBroken ? noDevice() : undefined;
    return !isBroken;
  }

  close(): Promise<void> {
    this.#link.leave(this);
    return Promise.resolve();
  }
}

function noDevice(): Error {
  return Object.assign(new Error('addMembership ENODEV'), { code: 'ENODEV' });
}

/** The link. */
export class SimLink {
  /** One way to others, ms. Who sends hears itself at once. */
  delayMs = 1;
  /** Everything that was sent. */
  readonly sent: SentToAll[] = [];
  /** Families whose group nobody can join. */
  readonly broken = new Set<4 | 6>();
  /** Hosts that cannot send. */
  readonly failing = new Set<string>();
  readonly members = new Set<SimMember>();
  readonly #clock: SimClock;

  constructor(clock: SimClock) {
    this.#clock = clock;
  }

  /** For `Platform.bindMulticast` of a host. @param addrOf - Its address of a family. */
  binder(addrOf: (family: 4 | 6) => Addr): (request: MulticastRequest) => Promise<MulticastTransport> {
    return ({ group }) => {
      if (this.broken.has(group.family)) return Promise.reject(noDevice());
      const member = new SimMember(this, addrOf(group.family));
      this.members.add(member);
      return Promise.resolve(member);
    };
  }

  /** Says something in the name of whoever it is. */
  send(from: Addr, data: Uint8Array): void {
    const copy = data.slice();
    this.sent.push({ at: this.#clock.now(), family: from.family, from: from.ip, data: copy });
    for (const member of this.members) {
      if (member.addr.family !== from.family) continue;
      const delayMs = member.addr === from ? 0 : this.delayMs;
      this.#clock.setTimeout(() => {
        if (this.members.has(member) && member.joinError === undefined) member.onDatagram?.(copy, from);
      }, delayMs);
    }
  }

  leave(member: SimMember): void {
    this.members.delete(member);
  }
}
