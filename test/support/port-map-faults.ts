/** What the port mapper's decoders say to bad input. */
import { PortMapError, type PortMapFault } from '../../src/port-mapper/fault.ts';

/** Why an input was refused; `none` when it was not; anything else thrown is a bug. */
export function faultOf(read: () => unknown): PortMapFault | 'none' | 'another error' {
  try {
    read();
    return 'none';
  } catch (error) {
    return error instanceof PortMapError ? error.fault : 'another error';
  }
}
