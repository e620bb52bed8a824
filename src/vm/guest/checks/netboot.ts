import type { DhcpExchange } from '../../../net/dhcp.js'
import { type NetbootRequest, normalizePath } from '../../../net/netboot-request.js'
import type { GuestHandle } from '../guest-handle.js'
import type { Check, CheckOutcome } from './check.js'

/** Expected properties of a fetched file. */
export interface FetchExpectation {
  /** Protocol of the request. @default any */
  readonly protocol?: 'tftp' | 'http' | undefined
  /** Minimum number of complete transfers. @default 1 */
  readonly times?: number | undefined
}

/** Expected properties of a DHCP lease. Omitted properties are not compared. */
export type LeaseExpectation = Partial<
  Pick<DhcpExchange, 'mac' | 'address' | 'bootfile' | 'firmware' | 'userClass' | 'uuid'>
>

/**
 * Met if the guest fetched a complete file over TFTP or HTTP.
 * @example checks.hasFetched('initrd.gz', { protocol: 'http' })
 */
export function hasFetched(path: string, { protocol, times = 1 }: FetchExpectation = {}): Check {
  const how = `${protocol === undefined ? '' : ` over ${protocol.toUpperCase()}`}${times === 1 ? '' : `, ${times} times`}`
  return {
    expected: `the guest to have fetched ${path}${how}`,
    needsGuest: false,
    run: async (vm) => {
      const requested = vm.netboot.requests.filter(
        (request) => isFor(request, path) && (protocol === undefined || request.protocol === protocol),
      )
      const complete = requested.filter(({ status }) => status === 'complete')
      const received =
        requested.length === 0
          ? 'not requested'
          : complete.length > 0
            ? `fetched ${complete.length === 1 ? 'once' : `${complete.length} times`}`
            : `requested: ${requested.at(-1)?.status}`
      return buildOutcome(vm, complete.length >= times, received)
    },
  }
}

/**
 * Met if the guest fetched these complete files in this order. Other files may be fetched in
 * between.
 * @example checks.hasFetchedInOrder(['pxelinux.0', 'linux', 'initrd.gz'])
 */
export function hasFetchedInOrder(paths: readonly string[]): Check {
  return {
    expected: `the guest to have fetched ${paths.join(', then ')}`,
    needsGuest: false,
    run: async (vm) => {
      let next = 0
      for (const request of vm.netboot.requests) {
        const wanted = paths[next]
        if (wanted !== undefined && request.status === 'complete' && isFor(request, wanted)) next++
      }
      const received =
        next === paths.length
          ? 'all files'
          : `${paths.slice(0, next).join(', ') || 'none'}, but not ${paths[next]}`
      return buildOutcome(vm, next === paths.length, received)
    },
  }
}

/**
 * Met if the guest received a DHCP lease with the expected properties.
 * @example checks.hasLease({ firmware: 'uefi-x64' })
 */
export function hasLease(expectation: LeaseExpectation = {}): Check {
  const wanted = Object.entries(expectation)
  return {
    expected: `the guest to have received a DHCP lease${wanted.length === 0 ? '' : ` with ${wanted.map(([name, value]) => `${name} ${value}`).join(', ')}`}`,
    needsGuest: false,
    run: async (vm) => {
      const leases = vm.netboot.dhcp.filter(({ isGranted }) => isGranted)
      const isMet = leases.some((lease) =>
        wanted.every(([name, value]) => lease[name as keyof LeaseExpectation] === value),
      )
      const last = leases.at(-1) as Record<string, unknown> | undefined
      const shown = wanted.map(([name]) => `${name} ${last?.[name]}`).join(', ')
      return buildOutcome(vm, isMet, last === undefined ? 'no lease' : shown || `a lease of ${last.address}`)
    },
  }
}

function isFor(request: NetbootRequest, path: string): boolean {
  return normalizePath(request.path) === normalizePath(path)
}

function buildOutcome(vm: GuestHandle, isMet: boolean, received: string): CheckOutcome {
  const { problem } = vm.netboot
  return {
    isMet,
    received: isMet || problem === undefined ? received : `${received}. ${problem}`,
    never: vm.lost.aborted ? 'the guest is lost' : undefined,
  }
}
