import { matchText } from '../../../common/match-text.js'
import { recognizeText } from '../../../host/tesseract.js'
import { enlargeForReading } from '../../evidence/enlarge.js'
import { decodePng } from '../../evidence/picture.js'
import type { Check } from './check.js'

/** Settings of `checks.displayShows()`. */
export interface DisplayExpectation {
  /**
   * Language of the text as named by tesseract, such as `'deu'`, or several: `'eng+deu'`.
   * @default 'eng'
   */
  readonly language?: string | undefined
}

/**
 * Met if the display shows a string or a match, as recognized by the program tesseract: line by
 * line, without blank lines, with single spaces between words. Text that is not made of dictionary
 * words may be misread.
 * @example checks.displayShows('Installation complete')
 */
export function displayShows(
  pattern: string | RegExp,
  { language = 'eng' }: DisplayExpectation = {},
): Check<string> {
  let lastPng: Buffer | undefined
  let read: { readonly png: Buffer; readonly text: string } | undefined
  return {
    expected: `the display to show ${typeof pattern === 'string' ? JSON.stringify(pattern) : pattern}`,
    run: async (vm, signal) => {
      const png = await vm.screenshot()
      lastPng = png
      if (read === undefined || !png.equals(read.png)) {
        const pgm = enlargeForReading(await decodePng(png))
        read = { png, text: pgm === undefined ? '' : await recognizeText(pgm, language, signal) }
      }
      const { text } = read
      return { isMet: matchText(text, pattern), received: text || '(no text)', value: text }
    },
    explain: async (vm) => {
      if (lastPng === undefined) return []
      return [{ label: "Screenshot, in the guest's logs", text: vm.recordPicture(lastPng) }]
    },
  }
}
