/** Part of a command line that requires a shell. */
export class ShellSyntaxError extends Error {
  readonly got: string
  readonly expected: string

  constructor(got: string, expected: string) {
    super(`${got}: expected ${expected}`)
    this.got = got
    this.expected = expected
  }
}

/** Shell features that cannot be evaluated without the shell's variables, files and programs. */
const UNSUPPORTED_SYNTAX: ReadonlyArray<readonly [RegExp, string, string]> = [
  [/^\$\(|^`/, 'a command substitution', 'its output in place of it'],
  [/^\$[\w{@*#?!$-]/, 'a shell variable', 'its value in place of it, for example from a template string'],
  [/^[;|<>()]|^&/, 'a shell operator', 'a single command, or the character in quotes'],
]

export interface SplitOptions {
  /**
   * If true, variables, operators and `~` are ordinary characters, as in glib's
   * `g_shell_parse_argv`. @default false, which rejects them
   */
  readonly isLiteral?: boolean
}

/**
 * Splits a command line like a POSIX shell: quotes, backslashes, continued lines and comments.
 * Syntax that depends on the shell's environment is rejected. `*` and `?` are literal, as in a
 * folder without matches.
 * @throws {ShellSyntaxError}
 */
export function splitWords(line: string, { isLiteral = false }: SplitOptions = {}): string[] {
  const rejectSyntax = (rest: string, rows: typeof UNSUPPORTED_SYNTAX) => {
    if (!isLiteral) requireLiteral(rest, rows)
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
      if (end === -1) throw new ShellSyntaxError(excerpt(rest), "a closing ` ' `")
      add(rest.slice(1, end))
      at += end + 1
    } else if (character === '"') {
      const { text, length } = readDoubleQuotes(rest, rejectSyntax)
      add(text)
      at += length
    } else if (character === '\\') {
      if (rest.length === 1) throw new ShellSyntaxError('a `\\` at the end', 'a character after it')
      add(rest[1] as string)
      at += 2
    } else {
      rejectSyntax(rest, UNSUPPORTED_SYNTAX)
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

/** Reads a double-quoted text, in which a backslash escapes only special characters. */
function readDoubleQuotes(
  rest: string,
  rejectSyntax: typeof requireLiteral,
): { readonly text: string; readonly length: number } {
  let text = ''
  for (let at = 1; at < rest.length; at++) {
    const character = rest[at] as string
    if (character === '"') return { text, length: at + 1 }
    rejectSyntax(rest.slice(at), UNSUPPORTED_SYNTAX.slice(0, 2))
    const next = rest[at + 1]
    if (character !== '\\' || next === undefined || !/[$`"\\\n]/.test(next)) {
      text += character
      continue
    }
    if (next !== '\n') text += next
    at++
  }
  throw new ShellSyntaxError(excerpt(rest), 'a closing `"`')
}

function requireLiteral(rest: string, rows: typeof UNSUPPORTED_SYNTAX): void {
  for (const [pattern, what, expected] of rows) {
    if (pattern.test(rest)) throw new ShellSyntaxError(`${what}, ${excerpt(rest)}`, expected)
  }
}

function excerpt(text: string): string {
  const line = text.split('\n', 1)[0] as string
  return line.length > 30 ? `${line.slice(0, 29)}…` : line
}
