import { toSafeLine } from '../errors/safe-text.js'
import { paint } from './style.js'

/**
 * Formats rows as lines of aligned columns. Rows may differ in length. Cells may come from a guest
 * or an image.
 *
 * @param options.heading titles of the columns, in bold on a terminal. @default none
 */
export function formatTable(
  cells: readonly (readonly string[])[],
  { heading }: { readonly heading?: readonly string[] } = {},
): string {
  const rows = [...(heading === undefined ? [] : [heading]), ...cells].map((row) => row.map(toSafeLine))
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  }
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const [first = '', ...others] = lines
  return (heading === undefined ? lines : [paint('bold', first), ...others]).join('\n')
}
