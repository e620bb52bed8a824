import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import { vmError } from '../../../errors.js'
import type { MachineSpec } from '../../../spec/machine-spec.js'

/** Address of a VNC or SPICE server. */
export interface ScreenServer {
  /** Host address. Undefined for a unix socket. */
  readonly host: string | undefined
  /** TCP port on `host`. Undefined for a unix socket. */
  readonly port: number | undefined
  /** Path of the unix socket, if the server uses one. */
  readonly socket: string | undefined
  /** WebSocket port, if the server has one. */
  readonly websocketPort: number | undefined
  /** If true, a viewer needs a password. */
  readonly hasPassword: boolean
  /** URL for viewers: `vnc://127.0.0.1:5900`, `spice+unix:///…`. */
  readonly url: string
}

/** Queries QEMU for the address of its VNC server. */
export async function findVnc(qmp: QmpClient, { display }: MachineSpec): Promise<ScreenServer> {
  if (display.vnc === undefined) throw noServerError('VNC', 'vnc')
  const servers = (await qmp.execute('query-vnc-servers')) as ReadonlyArray<{
    readonly server: ReadonlyArray<{ host: string; service: string; family: string; websocket: boolean }>
  }>
  const all = servers.flatMap(({ server }) => server)
  const plain = all.find(({ websocket }) => !websocket)
  if (plain === undefined) throw noServerError('VNC', 'vnc')
  const websocket = all.find((one) => one.websocket)
  const isUnix = plain.family === 'unix'
  return {
    host: isUnix ? undefined : plain.host,
    port: isUnix ? undefined : Number(plain.service),
    socket: isUnix ? plain.service : undefined,
    websocketPort: websocket && Number(websocket.service),
    hasPassword: display.vnc.password !== undefined,
    url: isUnix ? `vnc+unix://${plain.service}` : `vnc://${plain.host}:${plain.service}`,
  }
}

/** Returns the address of QEMU's SPICE server. */
export function findSpice({ display: { spice } }: MachineSpec, socket: string): ScreenServer {
  if (spice === undefined) throw noServerError('SPICE', 'spice')
  const { port, bind } = spice
  return {
    host: port === undefined ? undefined : bind,
    port,
    socket: port === undefined ? socket : undefined,
    websocketPort: undefined,
    hasPassword: spice.password !== undefined,
    url: port === undefined ? `spice+unix://${socket}` : `spice://${bind}:${port}`,
  }
}

function noServerError(what: string, option: string) {
  return vmError('DISPLAY_UNAVAILABLE', {
    summary: `The guest has no ${what} server.`,
    hint: `Set the option ${option}: true.`,
  })
}
