/** What may stand in a command template: an array becomes one word per element. */
export type CommandArgument = string | number | bigint | readonly (string | number | bigint)[]

/** Quotes a word for a POSIX shell, so that the shell gives back exactly `word`. */
export function quoteWord(word: string): string {
  if (word.includes('\0')) throw new TypeError('a word of a shell command cannot hold a NUL character')
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/**
 * Makes the command of a tagged template: what the template says stays as it is, each argument is quoted, and
 * the elements of an array are quoted one by one.
 *
 * @example renderCommand`rm -f ${['a b', 'c']}` // rm -f 'a b' c
 * @throws {TypeError} when an argument is neither a string nor a number nor an array of these, and when the template
 * holds a backslash sequence that JavaScript does not know.
 */
export function renderCommand(
  strings: TemplateStringsArray | readonly string[],
  ...args: readonly CommandArgument[]
): string {
  const { raw } = strings as Partial<TemplateStringsArray>
  strings.forEach((text: string | undefined, index) => {
    if (text !== undefined) return
    throw new TypeError(
      `the command holds a backslash sequence that JavaScript does not know: write each backslash twice in ${raw?.[index]}`,
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
    `argument ${index} of the command is ${argument === null ? 'null' : `of type ${typeof argument}`}: give a string, a number or an array of these`,
  )
}
