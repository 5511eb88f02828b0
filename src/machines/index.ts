/**
 * The machines and their event types (`iroh-ts/machines`), for model-based tests and viewers. What they do is provided by the
 * actors; here they only name it. Each name that ends in `Machine` or `Table` has a page in docs/machines.
 *
 * @module
 */
export { connectionMachine, type ConnectionLifeEvent } from './connection.ts';
export {
  endpointMachine,
  type EndpointContext,
  type EndpointEvent,
  type EndpointInput,
  type EndpointStep,
} from './endpoint.ts';
export { netReportMachine, type NetReportContext, type NetReportEvent } from './net-report.ts';
export { pathTable, type PathState, type PathTransition } from './path.ts';
export {
  portMapperMachine,
  type PortMapperContext,
  type PortMapperEvent,
  type PortMapperInput,
} from './port-mapper.ts';
export {
  publisherMachine,
  type PublisherContext,
  type PublisherEvent,
  type PublisherInput,
} from './publisher.ts';
export {
  relayClientMachine,
  type RelayClientContext,
  type RelayClientEvent,
  type RelayClientInput,
  type RelayLossReason,
} from './relay-client.ts';
export type { SelectionReason } from './path-selection.ts';
export {
  remoteMachine,
  type RemoteContext,
  type RemoteEvent,
  type RemoteInput,
  type SelectedKind,
  type SelectedPath,
} from './remote.ts';
export { routerMachine, type FilterOutcome, type RouterContext, type RouterEvent } from './router.ts';
export {
  socketMachine,
  type ReportReason,
  type SocketContext,
  type SocketEvent,
  type SocketInput,
} from './socket.ts';
