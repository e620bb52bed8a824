/**
 * State of a guest in the budget. `waiting`: in the queue. `blocked`: the process that starts the
 * guest is waiting for another process, or is stopped while the guest waits. `kept`: left running
 * after a failure, for inspection.
 */
export type EntryState = 'waiting' | 'starting' | 'running' | 'standby' | 'kept' | 'blocked'

/** Budget entry of a guest, visible to all processes of this user. */
export interface Entry {
  /**
   * Position in the queue: microseconds of the host's monotonic clock, followed by a few random
   * digits.
   */
  readonly ticket: string
  readonly state: EntryState
  /**
   * Holder that requests the guest. It may hold other guests, and releases none of them before it
   * gets this one.
   */
  readonly holder: string
  /**
   * Expected memory use of the guest, MiB, from measurements of earlier guests of its kind if there
   * are any.
   */
  readonly expectedMiB: number
  /** Maximum memory of the guest, in MiB. */
  readonly maxMiB: number
  /** PID of QEMU; undefined before QEMU is started. */
  readonly qemuPid: number | undefined
  readonly name: string
  /** File name or recipe of the image; undefined for a guest without an image. */
  readonly image: string | undefined
}

const LETTERS = { waiting: 'w', starting: 's', running: 'r', standby: 'b', kept: 'k', blocked: 'h' } as const
/** Order of the states. During a transition a guest has two entries, and the later state counts. */
const ORDER: readonly EntryState[] = ['blocked', 'waiting', 'standby', 'starting', 'running', 'kept']
/**
 * Maximum length of the name in a file name, characters: the longest name of one guest fits (60 of
 * the option `name`, and the id).
 */
const MAX_NAME_LENGTH = 67
const MAX_IMAGE_LENGTH = 40

/** Formats an entry as the file name that represents it. The name contains the whole entry. */
export function formatEntry(entry: Entry): string {
  const { ticket, state, holder, expectedMiB, maxMiB, qemuPid = 0, name, image = '' } = entry
  return [
    ticket,
    LETTERS[state],
    holder,
    expectedMiB,
    maxMiB,
    qemuPid,
    `${toFileName(name, MAX_NAME_LENGTH)}@${toFileName(image, MAX_IMAGE_LENGTH)}`,
  ].join('-')
}

/** Replaces characters with a meaning in the file name, and those of several bytes. */
function toFileName(text: string, maxChars: number): string {
  return text.slice(0, maxChars).replaceAll(/[^\w.+-]/g, '_')
}

/** Parses file names to entries, sorted by ticket. */
export function parseEntries(names: readonly string[]): Entry[] {
  const entries = new Map<string, Entry>()
  for (const text of names) {
    const entry = parseEntry(text)
    if (entry === undefined) continue
    const other = entries.get(entry.ticket)
    if (other === undefined || isNewer(entry, other)) entries.set(entry.ticket, entry)
  }
  return [...entries.values()].sort((a, b) => (a.ticket < b.ticket ? -1 : 1))
}

function parseEntry(text: string): Entry | undefined {
  const match = /^([0-9a-z]{14})-([wsrbkh])-([0-9.]+)-(\d+)-(\d+)-(\d+)-([^@]*)@?(.*)$/.exec(text)
  if (match === null) return undefined
  const [, ticket = '', letter, holder = '', expected, max, pid, name = '', image] = match
  const state = ORDER.find((one) => LETTERS[one] === letter) as EntryState
  const qemuPid = Number(pid) || undefined
  const memory = { expectedMiB: Number(expected), maxMiB: Number(max) }
  return { ticket, state, holder, ...memory, qemuPid, name, image: image || undefined }
}

function isNewer(one: Entry, other: Entry): boolean {
  const [rank, otherRank] = [ORDER.indexOf(one.state), ORDER.indexOf(other.state)]
  return rank === otherRank ? one.qemuPid !== undefined : rank > otherRank
}
