import { formatDuration } from '../common/duration.js'
import { formatBytes, MIB } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'
import { type Capacity, holdsCapacity } from './capacity.js'
import type { Entry } from './entry.js'
import type { Limits } from './limits.js'

/** Maximum number of guest names in a message. */
const MAX_NAMES = 4

/** Describes why a guest is waiting: the needed and free capacity, and the guests that use it. */
export function describeWait(
  { name, expectedMiB, ticket }: Entry,
  {
    entries,
    capacity,
    limits,
  }: { readonly entries: readonly Entry[]; readonly capacity: Capacity; readonly limits: Limits },
): string {
  const waiting = entries.filter((other) => other.state === 'waiting' && other.ticket < ticket)
  if (capacity.blockedBy === 'queue') return `'${name}' is waiting in the queue behind ${listNames(waiting)}.`
  if (capacity.blockedBy === 'starts') {
    const starting = entries.filter(({ state }) => state === 'starting')
    return `'${name}' is waiting to start: limit of ${limits.starts} concurrent starts; starting: ${listNames(starting)}.`
  }
  const memory = `needs about ${formatMiB(expectedMiB)}, ${formatMiB(capacity.freeMiB)} of ${formatBytes(limits.memoryBytes)} (${limits.origin}) free`
  return `'${name}' is waiting for memory: ${memory}; running: ${listNames(entries.filter(holdsCapacity))}.`
}

export function describeWaited({ name }: Entry, waitedMs: number): string {
  return `'${name}' waited ${formatDuration(waitedMs)} and is starting now.`
}

export function describeDeadlock({ name }: Entry, capacity: Capacity, limits: Limits): string {
  const limit =
    capacity.blockedBy === 'starts' ? `${limits.starts} concurrent starts` : formatBytes(limits.memoryBytes)
  const how = capacity.blockedBy === 'queue' ? 'ahead of the queue' : `above the limit of ${limit}`
  return `'${name}' is starting ${how} to break a deadlock: every holder is waiting for another guest. Start such guests together with launchVMs() to avoid this.`
}

export function hostTooSmallError(names: readonly string[], memoryBytes: number, limits: Limits): VMError {
  const isOne = names.length === 1
  const guests = isOne
    ? `The guest '${names[0]}'`
    : `The guests ${names.map((name) => `'${name}'`).join(', ')}`
  return vmError('HOST_TOO_SMALL', {
    summary: `${guests} cannot start on this host: ${isOne ? 'its' : 'their total'} memory exceeds the limit for all guests.`,
    expected: `at most ${formatBytes(limits.memoryBytes)} (${limits.origin})`,
    got: `${formatBytes(memoryBytes)} (\`memory\`)`,
    hint:
      limits.origin === 'WITHVM_MEMORY'
        ? `Reduce \`memory\`, or increase WITHVM_MEMORY.`
        : `Reduce \`memory\`, or use a host (or container) with more memory.`,
  })
}

function listNames(entries: readonly Entry[]): string {
  const names = entries.map(({ name, state }) => (state === 'standby' ? `'${name}' (standby)` : `'${name}'`))
  if (names.length === 0) return 'other processes of this host'
  const shown = names.slice(0, MAX_NAMES).join(', ')
  return names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown
}

function formatMiB(mib: number): string {
  return formatBytes(Math.max(0, mib) * MIB)
}
