import { type HistoryEntry, readImageHistory } from '../cache/image-history.js'
import { formatDuration } from '../common/duration.js'
import { formatBytes } from '../common/units.js'
import { readCaches } from '../image/stored-image.js'
import { EXIT_CODES } from './exit-code.js'
import { printResult } from './json.js'
import { formatTable } from './table.js'

/** Runs `withvm images history`: lists the layers of an image, the uppermost first. */
export async function showHistory(name: string, options: { readonly json: boolean }): Promise<number> {
  const history = await readImageHistory(name, readCaches())
  printResult(history, { json: options.json, text: formatHistory(history) })
  return EXIT_CODES.ok
}

const HEADINGS = ['LAYER', 'BUILT', 'TOOK', 'SIZE', 'CONTENT'] as const

function formatHistory(history: readonly HistoryEntry[]): string {
  const rows = history.map(({ name, builtAt, buildMs, bytes, content }) => [
    name,
    builtAt?.slice(0, 16).replace('T', ' ') ?? '-',
    buildMs === undefined ? '-' : formatDuration(buildMs),
    formatBytes(bytes),
    content,
  ])
  return formatTable([HEADINGS, ...rows])
}
