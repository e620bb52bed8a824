import { formatDuration } from '../../common/duration.js'
import { findRunningGuests, type RunningGuest } from '../../vm/workspace/running-guests.js'
import { EXIT_CODES } from '../exit-code.js'
import { printResult } from '../json.js'
import { formatTable } from '../table.js'

/** Runs `withvm ps`: lists the running guests on this host. */
export async function listGuests({ json }: { readonly json: boolean }): Promise<number> {
  const guests = await findRunningGuests()
  printResult(guests.map(describeGuest), { json, text: formatGuests(guests) })
  return EXIT_CODES.ok
}

/** Returns the values of a guest that `withvm ps --json` prints. */
export function describeGuest(running: RunningGuest) {
  const { name, guest, image, use, ownerPid, pid, ageMs, ports, dir, kept } = running
  return {
    name,
    guest,
    image: image ?? null,
    use,
    ownerPid: ownerPid ?? null,
    pid,
    ageMs: Math.round(ageMs),
    ports,
    runFolder: dir,
    kept: kept === undefined ? null : { why: kept.why, until: kept.until },
  }
}

const HEADING = ['NAME', 'IMAGE', 'PID', 'AGE', 'PORTS', 'USE']

/** Formats a table with one row for each guest. */
export function formatGuests(guests: readonly RunningGuest[]): string {
  if (guests.length === 0) return 'No guests are running on this host.'
  const rows = guests.map((guest) => [
    guest.name,
    guest.image ?? '-',
    String(guest.pid),
    formatDuration(Math.floor(guest.ageMs / 1000) * 1000),
    guest.ports.map(({ protocol, host, guest: port }) => formatPort(protocol, host, port)).join(', ') || '-',
    describeUse(guest),
  ])
  return formatTable(rows, { heading: HEADING })
}

const USES = {
  starting: 'starting for',
  running: 'in use by',
  template: 'becomes a template of',
  standby: 'standby of',
} as const

function describeUse({ use, ownerPid, kept }: RunningGuest): string {
  if (use === 'kept') return `kept until ${clockTime(kept?.until ?? '')}: ${kept?.why ?? ''}`
  return `${USES[use]} ${ownerPid === undefined ? 'the process that started it' : `process ${ownerPid}`}`
}

function formatPort(protocol: string, host: number, guest: number): string {
  return `${host}:${guest}${protocol === 'tcp' ? '' : `/${protocol}`}`
}

/** Returns the local time as `HH:MM`. */
function clockTime(iso: string): string {
  return new Date(iso).toTimeString().slice(0, 5)
}
