import { readText } from '../../../host/tesseract.js'
import { enlargeForReading } from '../../evidence/enlarge.js'
import { decodePng } from '../../evidence/picture.js'
import { notePicture } from '../pictures.js'
import type { Check } from './check.js'
import { matchText } from './match-text.js'

export interface DisplayExpectation {
  /** The language of the text, as tesseract names it: `'deu'`, or several: `'eng+deu'`. @default 'eng' */
  readonly language?: string
}

/**
 * The display shows a text, or something that matches, as the program tesseract reads it: line by line, without blank lines, with
 * single blanks between words. What is unlike anything of a dictionary may be read wrong.
 */
export function displayShows(
  pattern: string | RegExp,
  { language = 'eng' }: DisplayExpectation = {},
): Check<string> {
  let looked: Buffer | undefined
  let read: { readonly png: Buffer; readonly text: string } | undefined
  return {
    expected: `the display to show ${typeof pattern === 'string' ? JSON.stringify(pattern) : pattern}`,
    run: async (vm, signal) => {
      const png = await vm.screenshot()
      looked = png
      if (read === undefined || !png.equals(read.png)) {
        const pgm = enlargeForReading(await decodePng(png))
        read = { png, text: pgm === undefined ? '' : await readText(pgm, language, signal) }
      }
      const { text } = read
      return { isMet: matchText(text, pattern), received: text || '(no text)', value: text }
    },
    explain: async (vm) => {
      if (looked === undefined) return []
      return [{ label: 'The display, among the logs of the guest', text: notePicture(vm, looked) }]
    },
  }
}
