import { resolve } from 'node:path'
import { quoteWord } from '../../common/process/shell-quote.js'
import type { VMOptions } from '../../spec/options.js'
import type { Translation } from '../../spec/translation.js'
import type { OptionProblem } from '../../spec/validate-options.js'
import { formatParameters, type Parameters, parseParameters } from './parameters.js'

/** One option of the command line; a disk image that stands alone is `-hda`, as it is for QEMU. */
export interface ParsedOption {
  readonly flag: string
  readonly value: string
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** What is being made of a command line. */
export class Draft {
  readonly options: Writable<VMOptions> = {}
  readonly translated: Translation[] = []
  readonly problems: OptionProblem[] = []
  readonly kept: string[] = []

  /** Whether a text screen can be drawn. */
  readonly hasTerminal: boolean
  readonly isFile: (path: string) => boolean

  constructor({ isFile, hasTerminal }: { isFile: (path: string) => boolean; hasTerminal: boolean }) {
    this.isFile = isFile
    this.hasTerminal = hasTerminal
  }

  /** Has it as it is, behind what withvm says. QEMU runs in a folder of its own, so paths are made whole. */
  keep({ flag, value }: ParsedOption): void {
    this.kept.push(`-${flag}`)
    if (value !== '' || flag === 'append') this.kept.push(wholePaths(flag, value, this.isFile))
  }

  translate(given: ParsedOption, to: string, reason: string): void {
    this.translated.push({ from: formatGiven(given), to, reason })
  }

  refuse(given: ParsedOption, expected: string): void {
    this.problems.push({ path: 'commandLine', got: `\`${formatGiven(given)}\``, expected })
  }
}

export function formatGiven({ flag, value }: ParsedOption): string {
  return value === '' ? `-${flag}` : `-${flag} ${quoteWord(value)}`
}

/** Flags whose value is a path and nothing else; QEMU looks for some of them among its own files too. */
const PATHS = ['bios', 'dtb', 'option-rom', 'mem-path', 'pidfile', 'D', 'L', 'readconfig', 'dump-vmstate']
const PATH_KEYS = ['file', 'path', 'filename', 'mem-path', 'file.filename', 'romfile', 'dir', 'logfile']

function wholePaths(flag: string, value: string, isFile: (path: string) => boolean): string {
  const whole = (path: string) => (path.includes('/') || isFile(path) ? resolve(path) : path)
  if (PATHS.includes(flag)) return whole(value)
  const parameters: Parameters = parseParameters(value, '')
  const isPath = ([key, text]: readonly [string, string]) =>
    PATH_KEYS.includes(key) && text !== '' && !/^[\w+]+:/.test(text) && whole(text) !== text
  if (!parameters.some(isPath)) return value
  const made = parameters.map((pair): readonly [string, string] =>
    isPath(pair) ? [pair[0], whole(pair[1])] : pair,
  )
  return formatParameters(made).replace(/^=/, '')
}
