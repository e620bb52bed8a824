import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { nearestNames } from '../../common/nearest-name.js'
import { ShellSyntaxError, splitWords } from '../../common/process/split-words.js'
import { hasTerminal as isOnTerminal } from '../../common/terminal.js'
import { ARCHITECTURES, type GuestArch, hostArch } from '../../spec/architectures.js'
import type { ReplacedArgument } from '../../spec/import-report.js'
import type { VMOptions } from '../../spec/options.js'
import { optionError } from '../../spec/validate-options.js'
import { bootReaders } from './boot.js'
import { channelReaders, readTerminals } from './channels.js'
import { debugReaders } from './debug.js'
import { deviceReaders, finishDevices, readSilentSound } from './devices.js'
import { readDisks } from './disks.js'
import { displayReaders, readWindows } from './display.js'
import { Draft, formatGiven, type ParsedOption } from './draft.js'
import { readFirmware, splitPreface } from './firmware.js'
import { FLAGS, takesValue } from './flags.js'
import { machineReaders, readNuma } from './machine.js'
import { readNetworks } from './network.js'
import { renameClashes } from './own-names.js'
import type { Readers } from './readers.js'

/** Options and translations of a command line. */
export interface ParsedCommandLine {
  readonly options: VMOptions
  readonly replacedArguments: readonly ReplacedArgument[]
}

/** Facts about the host that the result depends on. @default detected by this process */
interface HostFacts {
  readonly isFile?: (path: string) => boolean
  readonly hasTerminal?: boolean
}

const READERS: Readers = {
  ...machineReaders,
  ...bootReaders,
  ...deviceReaders,
  ...channelReaders,
  ...displayReaders,
  ...debugReaders,
}
const PROGRAM = /^(qemu|kvm|qemu-kvm|qemu-system-[\w-]+)$/

/**
 * Parses a QEMU command line to options. Arguments without an option are passed through in
 * `qemuArgs`. `replacedArguments` lists removed QEMU options and those that withvm handles
 * differently.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems of the command line.
 * @example
 * parseCommandLine('qemu -m 512 -hda linux.img').options // { memory: '512M', hda: 'linux.img' }
 */
export function parseCommandLine(
  line: string,
  { isFile = existsSync, hasTerminal = isOnTerminal() }: HostFacts = {},
): ParsedCommandLine {
  const draft = new Draft({ isFile, hasTerminal })
  const { line: own, version } = splitPreface(line)
  const given = parseOptions(draft, readWords(draft, own))
  const machine = given.filter(({ flag }) => flag === 'M' || flag === 'machine')
  for (const one of machine) machineReaders.machine?.(draft, one)
  let rest: readonly ParsedOption[] = given.filter((one) => !machine.includes(one))
  for (const read of [
    readNuma,
    readFirmware,
    readDisks,
    readNetworks,
    readTerminals,
    readWindows,
    readSilentSound,
  ])
    rest = read(draft, rest)
  for (const one of rest) {
    const reader = Object.hasOwn(READERS, one.flag) ? READERS[one.flag] : undefined
    if (reader === undefined) draft.keep(one)
    else reader(draft, one)
  }
  finishDevices(draft)
  const { tpm } = draft.options
  if (version !== undefined && typeof tpm === 'object') draft.options.tpm = { ...tpm, version }
  if (draft.problems.length > 0) throw optionError(draft.problems)
  for (const [from, to] of renameClashes(draft.kept)) {
    draft.replacedArguments.push({
      from: `id=${from}`,
      to: `id=${to}`,
      reason: 'withvm already uses that ID',
    })
  }
  const order = given.map(formatGiven)
  const position = ({ from }: ReplacedArgument) => (order.includes(from) ? order.indexOf(from) : order.length)
  draft.replacedArguments.sort((a, b) => position(a) - position(b))
  if (draft.kept.length > 0) draft.options.qemuArgs = draft.kept
  return { options: draft.options, replacedArguments: draft.replacedArguments }
}

function readWords(draft: Draft, line: string): string[] {
  try {
    return splitWords(line)
  } catch (error) {
    if (!(error instanceof ShellSyntaxError)) throw error
    draft.problems.push({ path: 'commandLine', got: error.got, expected: error.expected })
    return []
  }
}

/** Parses the program and its options with their values. QEMU accepts one or two dashes. */
function parseOptions(draft: Draft, words: readonly string[]): ParsedOption[] {
  if (draft.problems.length > 0) return []
  const [program = '', ...rest] = words[0] === 'sudo' || words[0] === 'exec' ? words.slice(1) : words
  const { problems, options } = draft
  if (!PROGRAM.test(basename(program))) {
    const got = program === '' ? 'nothing' : `\`${program}\` as the program`
    problems.push({ path: 'commandLine', got, expected: '`qemu`, `kvm`, `qemu-kvm` or `qemu-system-…`' })
    return []
  }
  const arch = /^qemu-system-(\w+)$/.exec(basename(program))?.[1]
  if (arch !== undefined && Object.hasOwn(ARCHITECTURES, arch)) {
    if (arch !== hostArch()) options.arch = arch as GuestArch
  } else if (arch !== undefined) {
    const known = Object.keys(ARCHITECTURES).join(', ')
    problems.push({
      path: 'commandLine',
      got: `\`${program}\` as the program`,
      expected: `qemu-system-… for one of ${known}`,
    })
  }
  if (program !== basename(program) || /^qemu-system-\w+-/.test(program)) options.qemu = program
  const given: ParsedOption[] = []
  for (let at = 0; at < rest.length; at++) {
    const word = rest[at] as string
    if (!word.startsWith('-') || word === '-') {
      given.push({ flag: 'hda', value: word })
      continue
    }
    const flag = word.replace(/^--?/, '')
    const hasValue = takesValue(flag)
    if (hasValue === undefined) {
      const near = nearestNames(word, FLAGS)
      const suggestion = near.length > 0 ? `, such as ${near.join(', ')}` : ''
      problems.push({ path: 'commandLine', got: `\`${word}\``, expected: `an option of QEMU${suggestion}` })
      // The next word may be the value of the unknown flag, so it is not parsed as a disk image.
      if (rest[at + 1]?.startsWith('-') === false) at++
    } else if (hasValue) {
      const value = rest[++at]
      if (value === undefined)
        problems.push({
          path: 'commandLine',
          got: 'the end of the command line',
          expected: `a value for \`${word}\``,
        })
      else given.push({ flag, value })
    } else given.push({ flag, value: '' })
  }
  for (const one of given) rejectHelp(draft, one)
  return given
}

/** Arguments of `withvm list` for flags with a list of values. */
const LISTS: Readonly<Record<string, string>> = {
  M: 'machines',
  machine: 'machines',
  cpu: 'cpus',
  device: 'devices',
}

/**
 * Rejects `?` and `help`, for which QEMU prints a list and exits. A doubled comma belongs to the
 * previous value.
 */
function rejectHelp(draft: Draft, one: ParsedOption): void {
  const match = /^(|.*[^,](,,)*,)(\?|help)$/.exec(one.value)
  if (match === null || one.flag === 'append') return
  const subject = match[1]?.slice(0, -1) || undefined
  const list = subject === undefined || one.flag === 'device' ? LISTS[one.flag] : undefined
  const { arch } = draft.options
  const command =
    list === undefined
      ? formatGiven(one)
      : ['withvm list', list, subject, arch && `--arch ${arch}`].filter(Boolean).join(' ')
  const how =
    list === undefined ? `QEMU lists the values with \`${command}\`` : `\`${command}\` lists the values`
  draft.refuse(one, `a value (${how})`)
}
