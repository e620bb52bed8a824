import { formatDuration } from '../common/duration.js'
import { findRunningGuests, type RunningGuest } from '../vm/workspace/running-guests.js'
import { EXIT_CODES } from './exit-code.js'
import { formatTable } from './table.js'

/** Runs `withvm ps`: lists the running guests on this host. */
export async function listGuests(options: { readonly json: boolean }): Promise<number> {
  const guests = await findRunningGuests()
  const text = options.json ? formatGuestsAsJson(guests) : formatGuests(guests)
  process.stdout.write(`${text}\n`)
  return EXIT_CODES.ok
}

/**
 * Characters that JSON allows unescaped and a terminal interprets: DEL, C1 controls, and characters
 * that change the writing direction.
 */
const RAW_CONTROLS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/**
 * Returns JSON without control characters. They occur only in strings, so each can be replaced with
 * its escape.
 */
export function formatGuestsAsJson(guests: readonly RunningGuest[]): string {
  const json = JSON.stringify(guests.map(toJson), undefined, 2)
  return json.replace(RAW_CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function toJson({ name, guest, pid, ageMs, ports, dir, kept }: RunningGuest) {
  const { image = null, why = null, until = null } = kept ?? {}
  return {
    name,
    guest,
    pid,
    ageMs: Math.round(ageMs),
    image,
    ports,
    runFolder: dir,
    kept: kept === undefined ? null : { why, until },
  }
}

const HEAD = ['NAME', 'PID', 'AGE', 'IMAGE', 'PORTS', 'KEPT']

/** Formats a table with one row for each guest. */
export function formatGuests(guests: readonly RunningGuest[]): string {
  if (guests.length === 0) return 'No guests are running on this host.'
  const rows = guests.map((guest) => [
    guest.name,
    String(guest.pid),
    formatDuration(Math.floor(guest.ageMs / 1000) * 1000),
    guest.kept?.image ?? '-',
    guest.ports.map(({ protocol, host, guest: port }) => formatPort(protocol, host, port)).join(', ') || '-',
    guest.kept === undefined
      ? 'no: in use by the process that started it'
      : `until ${clockTime(guest.kept.until)}: ${guest.kept.why}`,
  ])
  return formatTable([HEAD, ...rows])
}

function formatPort(protocol: string, host: number, guest: number): string {
  return `${host}:${guest}${protocol === 'tcp' ? '' : `/${protocol}`}`
}

/** Returns the local time as `HH:MM`. */
function clockTime(iso: string): string {
  return new Date(iso).toTimeString().slice(0, 5)
}
