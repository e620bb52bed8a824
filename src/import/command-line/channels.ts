import { resolve } from 'node:path'
import type { Draft, ParsedOption } from './draft.js'
import { drop, ignore, type Readers } from './readers.js'

/** Interactive character devices. A test uses `vm.serial` instead. */
const TERMINALS = /^(mon:)?(stdio|vc(:.*)?|pty|none|null|msmouse)$/

/**
 * The first serial port is the console of withvm. Further ports become devices with their character
 * devices.
 */
function readSerials(draft: Draft, [first, ...further]: readonly ParsedOption[]): void {
  if (first !== undefined && first.value !== 'none') {
    draft.translate(first, 'vm.serial', 'withvm connects to the first serial port')
  }
  further.forEach((given, index) => {
    if (given.value !== 'none') readFurtherSerial(draft, given, `line-serial${index + 1}`)
  })
}

function readFurtherSerial(draft: Draft, given: ParsedOption, id: string): void {
  const named = /^chardev:(.*)$/.exec(given.value)?.[1]
  const isTerminal = TERMINALS.test(given.value)
  const chardev = isTerminal ? `null,id=${id}` : readCharacterDevice(given.value, id)
  if (isTerminal) draft.translate(given, '-chardev null', 'the guest of a test has no terminal')
  if (named === undefined && chardev === undefined) {
    draft.refuse(given, '`-chardev` with `-device isa-serial,chardev=` instead')
    return
  }
  if (named === undefined) draft.keep({ flag: 'chardev', value: chardev ?? '' })
  draft.keep({ flag: 'device', value: `isa-serial,chardev=${named ?? id}` })
}

/** Converts the short forms of `-serial` and `-monitor` to a `-chardev`. */
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
  if (!TERMINALS.test(given.value)) return void draft.keep({ ...given, value: resolveSocket(given.value) })
  if (given.value !== 'none')
    draft.translate(given, 'vm.qmp', 'the guest of a test has no terminal; vm.qmp replaces the monitor')
}

function readParallel(draft: Draft, given: ParsedOption): void {
  if (given.value !== 'none' && !TERMINALS.test(given.value))
    draft.keep({ ...given, value: resolveSocket(given.value) })
}

function resolveSocket(value: string): string {
  return value.replace(
    /^(unix|file|pipe):([^,]+)/,
    (_, kind: string, path: string) => `${kind}:${resolve(path)}`,
  )
}

/** Parses all serial ports together. Returns the remaining options. */
export function readTerminals(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  readSerials(
    draft,
    given.filter(({ flag }) => flag === 'serial'),
  )
  return given.filter(({ flag }) => flag !== 'serial')
}

/** Readers for monitors and parallel ports. */
export const channelReaders: Readers = {
  monitor: readMonitor,
  qmp: readMonitor,
  'qmp-pretty': readMonitor,
  parallel: readParallel,
  nographic: ignore,
  echr: drop('the guest of a test has no terminal'),
}
