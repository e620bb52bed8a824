import type { DhcpExchange } from './dhcp.js'
import type { NetbootRequest } from './netboot-request.js'
import { stageOf } from './netboot-trouble.js'

/** How many of the newest requests are told. */
const SHOWN_REQUESTS = 12

/** What was asked for, newest last, a line each. */
export function describeNetboot(
  {
    dhcp,
    requests,
  }: { readonly dhcp: readonly DhcpExchange[]; readonly requests: readonly NetbootRequest[] },
  { all = false }: { readonly all?: boolean } = {},
): string {
  const leases = dhcp.map(
    ({ mac, address, isGranted, messages, bootfile, userClass, firmware }) =>
      `DHCP ${mac} (${[firmware, userClass].filter((word) => word !== undefined).join(', ')}): ${messages.join(', ')}${isGranted ? ` of ${address}` : ''}${bootfile === undefined ? '' : `, boot file ${bootfile}`}`,
  )
  const shown = all ? requests : requests.slice(-SHOWN_REQUESTS)
  const left = requests.length - shown.length
  return [
    ...leases,
    ...(left > 0 ? [`(${left} requests before)`] : []),
    ...shown.map(describeRequest),
    ...(dhcp.length === 0 && requests.length === 0 ? ['nothing was asked for'] : []),
  ].join('\n')
}

/** `TFTP pxelinux.0: complete, 42430 bytes in 12 ms` */
function describeRequest({ protocol, path, status, code, bytes, durationMs }: NetbootRequest): string {
  const how = code === undefined || status === 'not found' ? status : `${status} (${code})`
  const time = durationMs === undefined ? '' : ` in ${durationMs} ms`
  return `${stageOf(protocol)} ${path}: ${how}${bytes > 0 ? `, ${bytes} bytes${time}` : ''}`
}
