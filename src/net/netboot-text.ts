import type { NetbootRequest } from './netboot-request.js'
import type { Netboot } from './netboot-server.js'
import { stageOf } from './netboot-trouble.js'

/** How many of the newest requests are told. */
const SHOWN_REQUESTS = 12
const SHOWN_LEASES = 12

type Told = Pick<Netboot, 'dhcp' | 'requests' | 'dropped'> & { readonly captureProblem?: string | undefined }

/** Lists what was requested, newest last, a line each, and counts what is not in the list. */
export function describeNetboot(
  { dhcp, requests, dropped, captureProblem }: Told,
  { all = false }: { readonly all?: boolean } = {},
): string {
  const leases = (all ? dhcp : dhcp.slice(-SHOWN_LEASES)).map(
    ({ mac, address, isGranted, messages, bootfile, userClass, firmware }) =>
      `DHCP ${mac} (${[firmware, userClass].filter((word) => word !== undefined).join(', ')}): ${messages.join(', ')}${isGranted ? ` of ${address}` : ''}${bootfile === undefined ? '' : `, boot file ${bootfile}`}`,
  )
  const shown = all ? requests : requests.slice(-SHOWN_REQUESTS)
  const leftLeases = dropped.dhcp + dhcp.length - leases.length
  const left = dropped.requests + requests.length - shown.length
  return [
    ...(leftLeases > 0 ? [`(${leftLeases} DHCP exchanges before)`] : []),
    ...leases,
    ...(left > 0 ? [`(${left} requests before)`] : []),
    ...shown.map(describeRequest),
    ...(dhcp.length === 0 && requests.length === 0 ? ['nothing was asked for'] : []),
    ...(dropped.malformed > 0 ? [`(${dropped.malformed} malformed packets and requests were dropped)`] : []),
    ...(dropped.connections > 0 ? [`(${dropped.connections} connections too many were refused)`] : []),
    ...(captureProblem === undefined ? [] : [`(the capture could not be read: ${captureProblem})`]),
  ].join('\n')
}

/** `TFTP pxelinux.0: complete, 42430 bytes in 12 ms` */
function describeRequest({ protocol, path, status, code, bytes, durationMs }: NetbootRequest): string {
  const how = code === undefined || status === 'not found' ? status : `${status} (${code})`
  const time = durationMs === undefined ? '' : ` in ${durationMs} ms`
  return `${stageOf(protocol)} ${path}: ${how}${bytes > 0 ? `, ${bytes} bytes${time}` : ''}`
}
