/**
 * Characters that JSON allows unescaped and a terminal interprets: DEL, C1 controls, and characters
 * that change the writing direction.
 */
const RAW_CONTROLS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/**
 * Returns JSON without control characters. They occur only in strings, so each can be replaced with
 * its escape.
 */
export function formatJson(value: unknown): string {
  const json = JSON.stringify(value, undefined, 2)
  return json.replace(RAW_CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Prints a result on stdout, as JSON or as text for readers. */
export function printResult(
  value: unknown,
  { json, text }: { readonly json: boolean; readonly text: string },
): void {
  process.stdout.write(`${json ? formatJson(value) : text}\n`)
}
