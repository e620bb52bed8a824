import { stageOf } from './netboot-problem.js'
import type { NetbootRequest } from './netboot-request.js'
import type { Netboot } from './netboot-server.js'

/** Number of the newest requests and exchanges that are listed. */
const SHOWN_REQUESTS = 12
const SHOWN_LEASES = 12

type NetbootRecord = Pick<Netboot, 'dhcp' | 'requests' | 'dropped'> & {
  readonly captureProblem?: string | undefined
}

/**
 * Lists DHCP exchanges and requests, one per line, newest last. Counts the entries that are not
 * listed.
 */
export function describeNetboot(
  { dhcp, requests, dropped, captureProblem }: NetbootRecord,
  { all = false }: { readonly all?: boolean } = {},
): string {
  const leases = (all ? dhcp : dhcp.slice(-SHOWN_LEASES)).map(
    ({ mac, address, isGranted, messages, bootfile, userClass, firmware }) =>
      `DHCP ${mac} (${[firmware, userClass].filter((word) => word !== undefined).join(', ')}): ${messages.join(', ')}${isGranted ? ` of ${address}` : ''}${bootfile === undefined ? '' : `, boot file ${bootfile}`}`,
  )
  const shown = all ? requests : requests.slice(-SHOWN_REQUESTS)
  const droppedLeases = dropped.dhcp + dhcp.length - leases.length
  const left = dropped.requests + requests.length - shown.length
  return [
    ...(droppedLeases > 0 ? [`(${droppedLeases} earlier DHCP exchanges)`] : []),
    ...leases,
    ...(left > 0 ? [`(${left} earlier requests)`] : []),
    ...shown.map(describeRequest),
    ...(dhcp.length === 0 && requests.length === 0 ? ['no requests'] : []),
    ...(dropped.malformed > 0 ? [`(${dropped.malformed} malformed packets and requests were dropped)`] : []),
    ...(dropped.connections > 0 ? [`(${dropped.connections} connections above the limit were refused)`] : []),
    ...(captureProblem === undefined ? [] : [`(the capture could not be read: ${captureProblem})`]),
  ].join('\n')
}

/** `TFTP pxelinux.0: complete, 42430 bytes in 12 ms` */
function describeRequest({ protocol, path, status, code, bytes, durationMs }: NetbootRequest): string {
  const how = code === undefined || status === 'not found' ? status : `${status} (${code})`
  const time = durationMs === undefined ? '' : ` in ${durationMs} ms`
  return `${stageOf(protocol)} ${path}: ${how}${bytes > 0 ? `, ${bytes} bytes${time}` : ''}`
}
