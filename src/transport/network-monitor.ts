/**
 * Watches a host's network by looking at it again and again: Node has no events for that, but a socket that knows no way to a
 * peer (`DatagramTransport.onNoRoute`) makes it look at once. Where the system has events (browsers), it looks then, too.
 *
 * A look that finds nothing new gives the object of the look before, and costs little. Its timer keeps a process alive; so do
 * the sockets of an open endpoint, and a closed endpoint has stopped its monitor.
 *
 * @module
 */
import type { Clock, Millis, TimerId } from '../base/clock.ts';
import type { InterfaceState } from '../base/interface-state.ts';

/** Time between two looks. Upstream hears of changes from the system at once. */
export const NETWORK_LOOK_INTERVAL_MS = 1_000;
/** What changes within this time counts as one change; net-tools `netwatch/src/netmon/actor.rs`. */
export const NETWORK_DEBOUNCE_MS = 250;
/** How often wall time is compared; same file. */
export const WALL_TIME_INTERVAL_MS = 15_000;
/** The host slept when wall time went on by more than so many intervals; same file. */
export const SLEEP_FACTOR = 1.5;

/** How a monitor is made. */
export interface NetworkMonitorOptions {
  readonly clock: Clock;
  /** Looks at the network; the same object means the same network. */
  readonly look: () => InterfaceState;
  /** What the system says; see `Platform.onNetworkChange`. */
  readonly follow?: ((listener: () => void) => () => void) | undefined;
  /** Equal for states that are the same. */
  readonly keyOf: (state: InterfaceState) => string;
  /** The network is another one, or the same one after the host slept. */
  readonly onChange: (state: InterfaceState, before: InterfaceState) => void;
}

/** Watches one host's network until it is stopped. */
export class NetworkMonitor {
  readonly #options: NetworkMonitorOptions;
  /** What was last told. */
  #told: InterfaceState;
  #toldKey: string;
  #lookTimer: TimerId;
  #debounceTimer: TimerId;
  #hasSlept = false;
  #wallAt: Millis;
  #wallCheckAt: Millis;
  #isStopped = false;
  readonly #unfollow: (() => void) | undefined;

  constructor(options: NetworkMonitorOptions) {
    this.#options = options;
    const { clock, look, keyOf } = options;
    this.#told = look();
    this.#toldKey = keyOf(this.#told);
    this.#wallAt = clock.wallNow();
    this.#wallCheckAt = clock.now() + WALL_TIME_INTERVAL_MS;
    this.#unfollow = options.follow?.(() => this.lookAgain());
    this.#arm();
  }

  /** What was last told. */
  get state(): InterfaceState {
    return this.#told;
  }

  #arm(): void {
    this.#lookTimer = this.#options.clock.setTimeout(() => {
      this.#compareWallTime();
      if (this.#hasSlept || this.#differs()) this.#suspect();
      this.#arm();
    }, NETWORK_LOOK_INTERVAL_MS);
  }

  #differs(): boolean {
    const state = this.#options.look();
    if (state === this.#told) return false;
    if (this.#options.keyOf(state) !== this.#toldKey) return true;
    this.#told = state;
    return false;
  }

  /** Timers may stand still while a host sleeps; the time of day does not. */
  #compareWallTime(): void {
    const { clock } = this.#options;
    const wall = clock.wallNow();
    const elapsed = wall - this.#wallAt;
    // A jump of the wall clock alone looks the same; the price is one more look at the network.
    if (elapsed > SLEEP_FACTOR * WALL_TIME_INTERVAL_MS) this.#hasSlept = true;
    if (this.#hasSlept || clock.now() >= this.#wallCheckAt) {
      this.#wallAt = wall;
      this.#wallCheckAt = clock.now() + WALL_TIME_INTERVAL_MS;
    }
  }

  /** Looks now rather than at the next turn, for somebody who knows better. */
  lookAgain(): void {
    if (!this.#isStopped) this.#suspect();
  }

  #suspect(): void {
    this.#debounceTimer ??= this.#options.clock.setTimeout(() => {
      this.#debounceTimer = undefined;
      this.#tell();
    }, NETWORK_DEBOUNCE_MS);
  }

  #tell(): void {
    const { look, keyOf, onChange } = this.#options;
    const before = this.#told;
    const state = look();
    const key = keyOf(state);
    const isSame = key === this.#toldKey && !this.#hasSlept;
    this.#hasSlept = false;
    if (isSame) return;
    this.#told = state;
    this.#toldKey = key;
    onChange(state, before);
  }

  /** No more looks. */
  stop(): void {
    if (!this.#isStopped) this.#unfollow?.();
    this.#isStopped = true;
    this.#options.clock.clearTimeout(this.#lookTimer);
    if (this.#debounceTimer !== undefined) this.#options.clock.clearTimeout(this.#debounceTimer);
    this.#debounceTimer = undefined;
  }
}
