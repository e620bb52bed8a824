import { formatDuration } from '../common/duration.js'
import { showControlCharacters } from '../errors.js'
import { findRunningGuests, type RunningGuest } from '../vm/workspace/running-guests.js'
import { EXIT_CODES } from './exit-code.js'

/** `withvm ps`: the guests that run on this host. */
export async function listGuests(options: { readonly json: boolean }): Promise<number> {
  const guests = await findRunningGuests()
  const text = options.json ? formatGuestsAsJson(guests) : formatGuests(guests)
  process.stdout.write(`${text}\n`)
  return EXIT_CODES.ok
}

/** All that JSON allows unescaped, but a terminal obeys: DEL, C1, and the characters that turn the direction of writing. */
const RAW_CONTROLS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** Returns JSON without control characters. Outside of strings JSON has none, so each can be escaped where it is. */
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

/** A row for each guest, in columns. */
export function formatGuests(guests: readonly RunningGuest[]): string {
  if (guests.length === 0) return 'No guest runs on this host.'
  const rows = guests.map((guest) =>
    [
      guest.name,
      String(guest.pid),
      formatDuration(Math.floor(guest.ageMs / 1000) * 1000),
      guest.kept?.image ?? '-',
      guest.ports.map(({ protocol, host, guest: port }) => formatPort(protocol, host, port)).join(', ') ||
        '-',
      guest.kept === undefined
        ? 'no: in use by what started it'
        : `until ${clockTime(guest.kept.until)}: ${guest.kept.why}`,
    ].map(showCell),
  )
  const widths = HEAD.map((_, column) => Math.max(...[HEAD, ...rows].map((row) => row[column]?.length ?? 0)))
  return [HEAD, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A cell is one line of plain text: names and reasons are the author's and the guest's. */
function showCell(text: string): string {
  return showControlCharacters(text).replaceAll(/[\t\n]+/g, ' ')
}

function formatPort(protocol: string, host: number, guest: number): string {
  return `${host}:${guest}${protocol === 'tcp' ? '' : `/${protocol}`}`
}

/** As a clock of this place shows it. */
function clockTime(iso: string): string {
  return new Date(iso).toTimeString().slice(0, 5)
}
