/**
 * UDP with a switch, for the demo: while it is off, datagrams get lost in both directions, as behind a firewall that was
 * just closed. Nobody is told, and sockets report no error.
 *
 * @module
 */
import {
  systemPlatform,
  type Addr,
  type Datagram,
  type DatagramTransport,
  type Platform,
  type Transmit,
} from '../index.ts';

/** Loses what the sockets of one platform send and receive, on demand. */
export class UdpSwitch {
  isOn = true;

  /** The system's platform, whose UDP goes through this switch. Goes to `Endpoint.bind({ platform })`. */
  readonly platform: Platform = {
    ...systemPlatform,
    bindUdp: async (request) => new SwitchedSocket(await systemPlatform.bindUdp!(request), this),
  };
}

class SwitchedSocket implements DatagramTransport {
  readonly #socket: DatagramTransport;
  readonly #switch: UdpSwitch;
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;

  constructor(socket: DatagramTransport, udp: UdpSwitch) {
    this.#socket = socket;
    this.#switch = udp;
    socket.onDatagrams = (batch) => {
      if (this.#switch.isOn) this.onDatagrams?.(batch);
    };
  }

  get localAddr(): Addr {
    return this.#socket.localAddr;
  }

  get queued(): number {
    return this.#socket.queued;
  }

  get sendErrors(): number {
    return this.#socket.sendErrors;
  }

  get onDrained(): (() => void) | undefined {
    return this.#socket.onDrained;
  }

  set onDrained(listener: (() => void) | undefined) {
    this.#socket.onDrained = listener;
  }

  send(batch: readonly Transmit[], from: number, to: number): void {
    if (this.#switch.isOn) this.#socket.send(batch, from, to);
  }

  close(): Promise<void> {
    return this.#socket.close();
  }
}
