import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import { vmError } from '../../../errors.js'
import type { MachineSpec } from '../../../spec/machine-spec.js'

/** Where a viewer finds the guest's display. */
export interface ScreenServer {
  /** The address of this host, and the port there; undefined where it is a unix socket. */
  readonly host: string | undefined
  readonly port: number | undefined
  /** The path of a unix socket. */
  readonly socket: string | undefined
  /** The port for websockets, where there is one. */
  readonly websocketPort: number | undefined
  /** Whether a viewer has to know a password. */
  readonly hasPassword: boolean
  /** As viewers take it: `vnc://127.0.0.1:5900`, `spice+unix:///…`. */
  readonly url: string
}

/** Where QEMU's VNC server listens, by its own account. */
export async function findVnc(qmp: QmpClient, { display }: MachineSpec): Promise<ScreenServer> {
  if (display.vnc === undefined) throw noServer('VNC', 'vnc')
  const servers = (await qmp.execute('query-vnc-servers')) as ReadonlyArray<{
    readonly server: ReadonlyArray<{ host: string; service: string; family: string; websocket: boolean }>
  }>
  const all = servers.flatMap(({ server }) => server)
  const plain = all.find(({ websocket }) => !websocket)
  if (plain === undefined) throw noServer('VNC', 'vnc')
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

/** Where QEMU's SPICE server listens. */
export function findSpice({ display: { spice } }: MachineSpec, socket: string): ScreenServer {
  if (spice === undefined) throw noServer('SPICE', 'spice')
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

function noServer(what: string, option: string) {
  return vmError('DISPLAY_UNAVAILABLE', {
    summary: `This guest has no ${what} server.`,
    hint: `give it the option ${option}: true.`,
  })
}
