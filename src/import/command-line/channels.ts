import { resolve } from 'node:path'
import type { Draft, ParsedOption } from './draft.js'
import { drop, passOver, type Readers } from './readers.js'

/** What a person would look at or type in: a test has it at `vm.serial`. */
const TERMINALS = /^(mon:)?(stdio|vc(:.*)?|pty|none|null|msmouse)$/

/** The first serial port is the console, which withvm reads; further ones are devices with what is behind them. */
function readSerials(draft: Draft, [first, ...further]: readonly ParsedOption[]): void {
  if (first !== undefined && first.value !== 'none') {
    draft.translate(first, 'vm.serial', 'withvm reads and writes the first serial port')
  }
  further.forEach((given, index) => {
    if (given.value !== 'none') readFurtherSerial(draft, given, `line-serial${index + 1}`)
  })
}

function readFurtherSerial(draft: Draft, given: ParsedOption, id: string): void {
  const named = /^chardev:(.*)$/.exec(given.value)?.[1]
  const isTerminal = TERMINALS.test(given.value)
  const chardev = isTerminal ? `null,id=${id}` : readCharacterDevice(given.value, id)
  if (isTerminal) draft.translate(given, '-chardev null', 'a guest of a test has no terminal')
  if (named === undefined && chardev === undefined) {
    draft.refuse(given, '`-chardev` with `-device isa-serial,chardev=` in its place')
    return
  }
  if (named === undefined) draft.keep({ flag: 'chardev', value: chardev ?? '' })
  draft.keep({ flag: 'device', value: `isa-serial,chardev=${named ?? id}` })
}

/** The short forms of `-serial` and `-monitor` as a `-chardev`. */
function readCharacterDevice(text: string, id: string): string | undefined {
  const comma = (path: string) => resolve(path).replaceAll(',', ',,')
  const [, kind = '', rest = ''] = /^(\w+):(.*)$/s.exec(text) ?? []
  if (kind === 'file' || kind === 'pipe') return `${kind},id=${id},path=${comma(rest)}`
  const [address = '', ...flags] = rest.split(',')
  const more = flags
    .map((flag) => `,${flag}`)
    .join('')
    .replaceAll(/,no(wait|delay)\b/g, ',$1=off')
    .replaceAll(/,server(?!=)\b/g, ',server=on')
  if (kind === 'unix') return `socket,id=${id},path=${comma(address)}${more}`
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? []
  if ((kind === 'tcp' || kind === 'telnet') && port !== '') {
    return `socket,id=${id},host=${host || '0.0.0.0'},port=${port}${kind === 'telnet' ? ',telnet=on' : ''}${more}`
  }
  return text.startsWith('/dev/') ? `serial,id=${id},path=${text}` : undefined
}

function readMonitor(draft: Draft, given: ParsedOption): void {
  if (!TERMINALS.test(given.value)) return void draft.keep({ ...given, value: wholeSocket(given.value) })
  if (given.value !== 'none')
    draft.translate(given, 'vm.qmp', "a guest of a test has no terminal, and QEMU's monitor is there")
}

function readParallel(draft: Draft, given: ParsedOption): void {
  if (given.value !== 'none' && !TERMINALS.test(given.value))
    draft.keep({ ...given, value: wholeSocket(given.value) })
}

function wholeSocket(value: string): string {
  return value.replace(
    /^(unix|file|pipe):([^,]+)/,
    (_, kind: string, path: string) => `${kind}:${resolve(path)}`,
  )
}

/** Reads serial ports, which belong together; the rest of the options is given back. */
export function readTerminals(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  readSerials(
    draft,
    given.filter(({ flag }) => flag === 'serial'),
  )
  return given.filter(({ flag }) => flag !== 'serial')
}

/** Monitors, and ports that a test does not have. */
export const channelReaders: Readers = {
  monitor: readMonitor,
  qmp: readMonitor,
  'qmp-pretty': readMonitor,
  parallel: readParallel,
  nographic: passOver,
  echr: drop('a guest of a test has no terminal'),
}
