import { formatDuration } from '../common/duration.js'
import { formatBytes } from '../common/units.js'
import { type VMError, vmError } from '../errors.js'
import { type Capacity, holdsCapacity } from './capacity.js'
import type { Entry } from './entry.js'
import type { Limits } from './limits.js'

const MIB = 1024 ** 2
/** More names than these tell nobody more. */
const NAMES_SHOWN = 4

/** For whom a guest waits, what there is and what it wants. */
export function describeWait(
  { name, expectedMiB, ticket }: Entry,
  {
    entries,
    capacity,
    limits,
  }: { readonly entries: readonly Entry[]; readonly capacity: Capacity; readonly limits: Limits },
): string {
  const waiting = entries.filter((other) => other.state === 'waits' && other.ticket < ticket)
  if (capacity.lacks === 'turn') return `'${name}' waits for its turn, behind ${listNames(waiting)}.`
  if (capacity.lacks === 'starts') {
    const starting = entries.filter(({ state }) => state === 'starts')
    return `'${name}' waits until others have started, as no more than ${limits.starts} do at a time: ${listNames(starting)}.`
  }
  const needs = `it takes about ${formatMiB(expectedMiB)}, and ${formatMiB(capacity.freeMiB)} of ${formatBytes(limits.memoryBytes)} (${limits.origin}) is free`
  return `'${name}' waits for memory: ${needs} beside ${listNames(entries.filter(holdsCapacity))}.`
}

export function describeWaited({ name }: Entry, waitedMs: number): string {
  return `'${name}' has waited for ${formatDuration(waitedMs)}, and is started now.`
}

export function describeDeadlock({ name }: Entry, capacity: Capacity, limits: Limits): string {
  const limit =
    capacity.lacks === 'starts' ? `${limits.starts} starts at a time` : formatBytes(limits.memoryBytes)
  const how = capacity.lacks === 'turn' ? 'before its turn' : `beyond the limit of ${limit}`
  return `'${name}' is started ${how}: all who have guests wait for one more, and none would get it. Guests that are started together, by launchVMs(), have no need of that.`
}

export function hostTooSmall(names: readonly string[], memoryBytes: number, limits: Limits): VMError {
  const isOne = names.length === 1
  const who = isOne ? `The guest '${names[0]}'` : `The guests ${names.map((name) => `'${name}'`).join(', ')}`
  return vmError('HOST_TOO_SMALL', {
    summary: `${who} can never be started here: ${isOne ? 'it has' : 'together they have'} more memory than all guests may take.`,
    expected: `no more than ${formatBytes(limits.memoryBytes)} (${limits.origin})`,
    got: `${formatBytes(memoryBytes)} (\`memory\`)`,
    hint:
      limits.origin === 'WITHVM_MEMORY'
        ? `give ${isOne ? 'it' : 'them'} less \`memory\`, or allow for more by WITHVM_MEMORY.`
        : `give ${isOne ? 'it' : 'them'} less \`memory\`, or run on a host (or in a container) that has more.`,
  })
}

function listNames(entries: readonly Entry[]): string {
  const names = entries.map(({ name, state }) =>
    state === 'standby' ? `'${name}' (stands by)` : `'${name}'`,
  )
  if (names.length === 0) return 'what else runs on this host'
  const shown = names.slice(0, NAMES_SHOWN).join(', ')
  return names.length > NAMES_SHOWN ? `${shown} and ${names.length - NAMES_SHOWN} more` : shown
}

function formatMiB(mib: number): string {
  return formatBytes(Math.max(0, mib) * MIB)
}
