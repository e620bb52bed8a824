/** Argument of a command template. An array becomes one word per element. */
export type CommandArgument = string | number | bigint | readonly (string | number | bigint)[]

/** Quotes a word for a POSIX shell, which then reads exactly `word`. */
export function quoteWord(word: string): string {
  if (word.includes('\0')) throw new TypeError('A word of a shell command cannot contain a NUL character.')
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/**
 * Builds the command of a tagged template: the text is kept, each argument is quoted, and the
 * elements of an array are quoted one by one.
 *
 * @example renderCommand`rm -f ${['a b', 'c']}` // rm -f 'a b' c
 * @throws {TypeError} when an argument is neither a string nor a number nor an array of these, or
 *   the template contains a backslash sequence that is invalid in JavaScript.
 */
export function renderCommand(
  strings: TemplateStringsArray | readonly string[],
  ...args: readonly CommandArgument[]
): string {
  const { raw } = strings as Partial<TemplateStringsArray>
  strings.forEach((text: string | undefined, index) => {
    if (text !== undefined) return
    throw new TypeError(
      `The command contains a backslash sequence that is invalid in JavaScript: write each backslash twice in ${raw?.[index]}`,
    )
  })
  return strings.reduce((command, text, index) => {
    const argument = args[index - 1]
    return `${command}${renderArgument(argument, index)}${text}`
  })
}

function renderArgument(argument: unknown, index: number): string {
  if (Array.isArray(argument)) return argument.map((element) => renderArgument(element, index)).join(' ')
  if (typeof argument === 'string') return quoteWord(argument)
  if (typeof argument === 'number' || typeof argument === 'bigint') return String(argument)
  throw new TypeError(
    `Argument ${index} of the command is ${argument === null ? 'null' : `of type ${typeof argument}`}: expected a string, a number or an array of these.`,
  )
}
