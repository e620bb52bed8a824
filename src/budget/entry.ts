/**
 * What a guest is to the budget: it waits for room, is started, is used, stands by, was left running for a person; or what
 * starts it waits for something else.
 */
export type EntryState = 'waits' | 'starts' | 'runs' | 'standby' | 'kept' | 'blocked'

/** What all processes of this user may know of a guest. */
export interface Entry {
  /** Who came first: microseconds of the host's monotonic clock, and a few random digits. */
  readonly ticket: string
  readonly state: EntryState
  /** Who wants it. What wants a guest may have others, and has to be given it before it gives those back. */
  readonly holder: string
  /** What such a guest usually takes, MiB. */
  readonly expectedMiB: number
  /** What it takes at most, MiB. */
  readonly maxMiB: number
  /** The process of its QEMU, once there is one. */
  readonly qemuPid: number | undefined
  readonly name: string
}

const LETTERS = { waits: 'w', starts: 's', runs: 'r', standby: 'b', kept: 'k', blocked: 'h' } as const
/** A guest is seen in two states while it goes from one to the next: the later one counts. */
const ORDER: readonly EntryState[] = ['blocked', 'waits', 'standby', 'starts', 'runs', 'kept']
/** So that the name of an entry's file stays readable. */
const LONGEST_NAME = 20

/** Returns the name of the file that stands for the guest while it is in that state: all that others know of it. */
export function formatEntry(entry: Entry): string {
  const { ticket, state, holder, expectedMiB, maxMiB, qemuPid = 0, name } = entry
  return [
    ticket,
    LETTERS[state],
    holder,
    expectedMiB,
    maxMiB,
    qemuPid,
    name.slice(0, LONGEST_NAME).replaceAll(/[/~\0]/g, '_'),
  ].join('-')
}

/** Gives the guests that the names tell of, whoever came first first. */
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
  const match = /^([0-9a-z]{14})-([wsrbkh])-([0-9.]+)-(\d+)-(\d+)-(\d+)-(.*)$/.exec(text)
  if (match === null) return undefined
  const [, ticket = '', letter, holder = '', claim, most, pid, name = ''] = match
  const state = ORDER.find((one) => LETTERS[one] === letter) as EntryState
  const qemuPid = Number(pid) || undefined
  return { ticket, state, holder, expectedMiB: Number(claim), maxMiB: Number(most), qemuPid, name }
}

function isNewer(one: Entry, other: Entry): boolean {
  const [mine, theirs] = [ORDER.indexOf(one.state), ORDER.indexOf(other.state)]
  return mine === theirs ? one.qemuPid !== undefined : mine > theirs
}
