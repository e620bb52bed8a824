import { styleText } from 'node:util'

/** One format: with a list of them, `styleText()` of Node.js 20 ignores the stream. */
type Style = Exclude<Parameters<typeof styleText>[0], readonly unknown[]>

/** Stream whose terminal decides on colors. */
type Output = typeof process.stdout | typeof process.stderr

/**
 * Returns a text in a style if `output` is a terminal with colors, else unchanged. NO_COLOR and
 * FORCE_COLOR override that, as in Node.js.
 */
export function paint(style: Style, text: string, output: Output = process.stdout): string {
  return styleText(style, text, { stream: output })
}

/** Highlights the labels of an error message for a terminal. */
export function paintError(message: string, output: Output = process.stderr): string {
  return message
    .replace(/^(?:withvm|error):/, (label) => paint('red', paint('bold', label, output), output))
    .replaceAll(/^ {2}(?:Expected|Got):/gm, (label) => paint('bold', label, output))
    .replaceAll(/^ {2}\| .*$/gm, (line) => paint('dim', line, output))
    .replace(/^Fix:(?=[^\n]*$)/m, (label) => paint('green', label, output))
}
