import { resolve } from 'node:path'
import { quoteWord } from '../../common/process/shell-quote.js'
import type { ReplacedArgument } from '../../spec/import-report.js'
import type { VMOptions } from '../../spec/options.js'
import type { OptionProblem } from '../../spec/validate-options.js'
import { formatParameters, type Parameters, parseParameters } from './parameters.js'

/** Option of the command line. A positional disk image is `-hda`, as in QEMU. */
export interface ParsedOption {
  readonly flag: string
  readonly value: string
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Intermediate result of parsing a command line. */
export class Draft {
  readonly options: Writable<VMOptions> = {}
  readonly replacedArguments: ReplacedArgument[] = []
  readonly problems: OptionProblem[] = []
  readonly kept: string[] = []

  /** If true, the curses display can be used. */
  readonly hasTerminal: boolean
  readonly isFile: (path: string) => boolean

  constructor({ isFile, hasTerminal }: { isFile: (path: string) => boolean; hasTerminal: boolean }) {
    this.isFile = isFile
    this.hasTerminal = hasTerminal
  }

  /**
   * Passes an option through, after the arguments of withvm. Resolves paths, because QEMU runs in
   * another folder.
   */
  keep({ flag, value }: ParsedOption): void {
    this.kept.push(`-${flag}`)
    if (value !== '' || flag === 'append') this.kept.push(resolvePaths(flag, value, this.isFile))
  }

  translate(given: ParsedOption, to: string, reason: string): void {
    this.replacedArguments.push({ from: formatGiven(given), to, reason })
  }

  refuse(given: ParsedOption, expected: string): void {
    this.problems.push({ path: 'commandLine', got: `\`${formatGiven(given)}\``, expected })
  }
}

export function formatGiven({ flag, value }: ParsedOption): string {
  return value === '' ? `-${flag}` : `-${flag} ${quoteWord(value)}`
}

/** Flags whose value is a path. QEMU also searches its data folders for some of them. */
const PATHS = ['bios', 'dtb', 'option-rom', 'mem-path', 'pidfile', 'D', 'L', 'readconfig', 'dump-vmstate']
const PATH_KEYS = ['file', 'path', 'filename', 'mem-path', 'file.filename', 'romfile', 'dir', 'logfile']

function resolvePaths(flag: string, value: string, isFile: (path: string) => boolean): string {
  const resolvePath = (path: string) => (path.includes('/') || isFile(path) ? resolve(path) : path)
  if (PATHS.includes(flag)) return resolvePath(value)
  const parameters: Parameters = parseParameters(value, '')
  const isPath = ([key, text]: readonly [string, string]) =>
    PATH_KEYS.includes(key) && text !== '' && !/^[\w+]+:/.test(text) && resolvePath(text) !== text
  if (!parameters.some(isPath)) return value
  const made = parameters.map((pair): readonly [string, string] =>
    isPath(pair) ? [pair[0], resolvePath(pair[1])] : pair,
  )
  return formatParameters(made).replace(/^=/, '')
}
