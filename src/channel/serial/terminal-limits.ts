import type { Terminal } from '@xterm/headless'
import { MIB } from '../../common/units.js'

/**
 * Limits on the time and memory that output of the guest costs the emulated terminal. A terminal
 * that draws one piece of text blocks the process, so pieces are small and no sequence is much more
 * expensive than others.
 */

/** Number of cells that the most expensive sequences of one write may change. */
const CELLS_PER_WRITE = 2 * MIB
/**
 * Sequences with a repeat count: insert and delete lines, scroll up and down, tab forward and back.
 */
const REPEATING = ['L', 'M', 'S', 'T', 'I', 'Z']
const REPEAT_CHARACTER = 'b'
/**
 * Sequences of the operating system: titles, colors, links. None of them draws text. The terminal
 * keeps a marker for each link and updates all of them whenever lines move.
 */
const OPERATING_SYSTEM = [0, 1, 2, 4, 8, 10, 11, 12, 104, 110, 111, 112]
/** Maximum length of the text of one cell: a character and its combining characters. */
const MAX_CELL_CHARS = 32
/**
 * The control character CAN has no effect of its own: the next combining character is not added to
 * the cell before it.
 */
const CANCEL = '\x18'

/**
 * Ignores sequences that are expensive and either pointless or without effect on the text of the
 * screen.
 */
export function limitSequences(terminal: Terminal): void {
  const isAbsurd = (count: unknown) =>
    typeof count === 'number' && count > Math.max(terminal.rows, terminal.cols)
  for (const final of REPEATING) {
    terminal.parser.registerCsiHandler({ final }, ([count]) => isAbsurd(count))
  }
  terminal.parser.registerCsiHandler(
    { final: REPEAT_CHARACTER },
    ([count]) => isAbsurd(count) || hasLongCell(terminal),
  )
  for (const id of OPERATING_SYSTEM) terminal.parser.registerOscHandler(id, () => true)
}

/** Returns the number of characters that the terminal may draw at once: fewer on a large screen. */
export function writeSize({ rows, cols }: Terminal): number {
  return Math.max(1, Math.floor(CELLS_PER_WRITE / (rows * Math.max(rows, cols))))
}

/** Returns the text to write so that the cell before the cursor does not grow without bounds. */
export function limitCell(terminal: Terminal, text: string): string {
  return hasLongCell(terminal) ? `${CANCEL}${text}` : text
}

/** Returns true if the cell before the cursor has an absurd number of combining characters. */
function hasLongCell({ buffer: { active } }: Terminal): boolean {
  const line = active.getLine(active.baseY + active.cursorY)
  // The second cell of a wide character is empty.
  return [1, 2].some((back) => {
    const cell = line?.getCell(active.cursorX - back)
    return cell !== undefined && cell.getChars().length > MAX_CELL_CHARS
  })
}
