/** A part of a line that only a shell could make something of. */
export class ShellSyntaxError extends Error {
  readonly got: string
  readonly expected: string

  constructor(got: string, expected: string) {
    super(`${got}: expected ${expected}`)
    this.got = got
    this.expected = expected
  }
}

/** What a shell would do, and we cannot do for it without its variables, files and programs. */
const REFUSED: ReadonlyArray<readonly [RegExp, string, string]> = [
  [/^\$\(|^`/, 'the output of a command', 'what it prints in its place'],
  [/^\$[\w{@*#?!$-]/, 'a variable of the shell', 'its value in its place, as a template string gives it'],
  [/^[;|<>()]|^&/, 'an operator of the shell', 'one command alone, or the character in quotes'],
]

export interface SplitOptions {
  /** If true, variables, operators and `~` are ordinary characters, as for glib's `g_shell_parse_argv`. @default false: refused */
  readonly isLiteral?: boolean
}

/**
 * Splits a command line as a POSIX shell does: quotes, backslashes, continued lines and comments. What depends on the shell's
 * own surroundings is refused; `*` and `?` are what they are, as in a folder where nothing matches.
 * @throws {ShellSyntaxError}
 */
export function splitWords(line: string, { isLiteral = false }: SplitOptions = {}): string[] {
  const refuseIn = (rest: string, rows: typeof REFUSED) => {
    if (!isLiteral) refuse(rest, rows)
  }
  const words: string[] = []
  let word: string | undefined
  const add = (text: string) => {
    word = (word ?? '') + text
  }
  for (let at = 0; at < line.length; ) {
    const rest = line.slice(at)
    const character = rest[0] as string
    if (/^\\\r?\n/.test(rest)) {
      at += rest.indexOf('\n') + 1
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
      at++
    } else if (character === '#' && word === undefined) {
      const end = rest.indexOf('\n')
      at = end === -1 ? line.length : at + end
    } else if (character === "'") {
      const end = rest.indexOf("'", 1)
      if (end === -1) throw new ShellSyntaxError(excerpt(rest), "another ` ' ` that ends the quotation")
      add(rest.slice(1, end))
      at += end + 1
    } else if (character === '"') {
      const { text, length } = readDoubleQuotes(rest, refuseIn)
      add(text)
      at += length
    } else if (character === '\\') {
      if (rest.length === 1) throw new ShellSyntaxError('a `\\` at the end', 'a character behind it')
      add(rest[1] as string)
      at += 2
    } else {
      refuseIn(rest, REFUSED)
      if (!isLiteral && character === '~' && word === undefined && /^~(\/|\s|$|\w)/.test(rest)) {
        throw new ShellSyntaxError(excerpt(rest), 'the path of the home folder in place of `~`')
      }
      add(character)
      at++
    }
  }
  if (word !== undefined) words.push(word)
  return words
}

/** Within double quotes a backslash counts only before what has a meaning there. */
function readDoubleQuotes(
  rest: string,
  refuseIn: typeof refuse,
): { readonly text: string; readonly length: number } {
  let text = ''
  for (let at = 1; at < rest.length; at++) {
    const character = rest[at] as string
    if (character === '"') return { text, length: at + 1 }
    refuseIn(rest.slice(at), REFUSED.slice(0, 2))
    const next = rest[at + 1]
    if (character !== '\\' || next === undefined || !/[$`"\\\n]/.test(next)) {
      text += character
      continue
    }
    if (next !== '\n') text += next
    at++
  }
  throw new ShellSyntaxError(excerpt(rest), 'another `"` that ends the quotation')
}

function refuse(rest: string, rows: typeof REFUSED): void {
  for (const [pattern, what, expected] of rows) {
    if (pattern.test(rest)) throw new ShellSyntaxError(`${what}, ${excerpt(rest)}`, expected)
  }
}

function excerpt(text: string): string {
  const line = text.split('\n', 1)[0] as string
  return line.length > 30 ? `${line.slice(0, 29)}…` : line
}
