import { logToStderr } from '../common/log.js'
import { formatBytes, parseMemorySize } from '../common/units.js'
import { EXIT_CODES } from './exit-code.js'
import { printResult } from './json.js'
import { formatTable } from './table.js'

/** Flag for the output of programs. */
export interface Json {
  readonly json?: boolean
}

export interface PruneFlags extends Json {
  readonly maxSize?: string
}

interface Row {
  readonly name: string
  readonly bytes: number
  readonly lastUsed: Date
  readonly isInUse: boolean
  /** @default none */
  readonly origin?: string
}

/** Width of the longest size, such as `1023.9 MiB`. */
const SIZE_WIDTH = 10

/** Formats one row for each cache entry, with headings, and the total size. */
export function formatEntries(entries: readonly Row[], plural: string): string {
  const rows = entries.map(({ name, bytes, lastUsed, isInUse, origin }) => {
    const used = isInUse ? 'in use' : lastUsed.toISOString().slice(0, 16).replace('T', ' ')
    return [name, formatBytes(bytes).padStart(SIZE_WIDTH), used, ...(origin === undefined ? [] : [origin])]
  })
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0)
  const noun = entries.length === 1 ? plural.replace(/s$/, '') : plural
  const hasOrigin = entries.some(({ origin }) => origin !== undefined)
  const heading = ['NAME', 'SIZE'.padStart(SIZE_WIDTH), 'LAST USED (UTC)', ...(hasOrigin ? ['ORIGIN'] : [])]
  return [formatTable(rows, { heading }), '', `${entries.length} ${noun}, ${formatBytes(total)}`].join('\n')
}

/**
 * Calls `prune` to remove entries until the total size is at most `maxSize`, and prints the removed
 * entries. Without `maxSize`, removes all entries that are not in use.
 */
export async function pruneEntries(
  { maxSize, json }: PruneFlags,
  prune: (maxBytes: number) => Promise<string[]>,
): Promise<number> {
  const maxBytes = maxSize === undefined ? 0 : parseMemorySize(maxSize)
  if (maxBytes === undefined) {
    logToStderr(`--max-size requires a size such as '2G', got '${maxSize}'.`)
    return EXIT_CODES.usage
  }
  printRemoved(await prune(maxBytes), { json })
  return EXIT_CODES.ok
}

/** Prints the names of the removed entries. */
export function printRemoved(removed: readonly string[], { json = false }: Json): void {
  const text = removed.length === 0 ? 'No entries were removed.' : `Removed ${removed.join(', ')}.`
  printResult({ removed }, { json, text })
}
