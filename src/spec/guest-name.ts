/** Maximum length of the name of a guest, an image or a checkpoint. */
export const MAX_NAME_CHARS = 60
/** Description of a valid name, for errors. */
export const NAME_RULE = `a name of letters, digits, '.', '_' and '-', up to ${MAX_NAME_CHARS} of them`

/** Returns true if a value is a valid name of a guest, an image or a checkpoint. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_NAME_CHARS && /^[A-Za-z0-9][\w.-]*$/.test(value)
}
