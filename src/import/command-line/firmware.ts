import type { Draft, ParsedOption } from './draft.js'
import { lastValue, parseParameters } from './parameters.js'

/** UEFI firmware lies in two flash chips: code that is only read, and the variables. A TPM is a program at a socket. */
export function readFirmware(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  return readTpm(draft, readRom(draft, readFlash(draft, given)))
}

/** A name that is no file here is one of QEMU's own files: the line keeps it. */
function readRom(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const roms = given.filter(({ flag }) => flag === 'bios')
  const last = roms.at(-1)
  if (last === undefined || !(last.value.includes('/') || draft.isFile(last.value))) return given
  draft.options.firmware = { type: 'bios', file: last.value }
  return given.filter((one) => !roms.includes(one))
}

function readFlash(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const flash = (unit: string) =>
    given.find(({ flag, value }) => {
      const parameters = flag === 'drive' ? parseParameters(value) : []
      return lastValue(parameters, 'if') === 'pflash' && lastValue(parameters, 'unit') === unit
    })
  const [code, vars] = [flash('0'), flash('1')]
  if (code === undefined || vars === undefined) return given
  const isReadonly = ['readonly', 'read-only'].some(
    (key) => lastValue(parseParameters(code.value), key) === 'on',
  )
  const path = lastValue(parseParameters(vars.value), 'file')
  if (!isReadonly || path === undefined) return given
  const secure = given.find(({ flag, value }) => {
    return flag === 'global' && /cfi\.pflash01.*secure.*(on|true)$/.test(value)
  })
  draft.options.firmware = { type: 'uefi', ...(secure === undefined ? {} : { secureBoot: true }), vars: path }
  draft.translate(
    code,
    "firmware: { type: 'uefi' }",
    "the firmware's code is found as this host's packages have it",
  )
  return given.filter((one) => one !== code && one !== vars && one !== secure)
}

function readTpm(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const back = given.find(({ flag, value }) => flag === 'tpmdev' && value.startsWith('emulator,'))
  if (back === undefined) return given
  const parameters = parseParameters(back.value, 'type')
  const chardev = given.find(({ flag, value }) => {
    const id = flag === 'chardev' ? lastValue(parseParameters(value, 'type'), 'id') : undefined
    return id !== undefined && id === lastValue(parameters, 'chardev')
  })
  const device = given.find(({ flag, value }) => {
    const found = flag === 'device' ? parseParameters(value, 'driver') : []
    return found.length === 2 && lastValue(found, 'tpmdev') === lastValue(parameters, 'id')
  })
  const model = /^tpm-(tis|crb),/.exec(device?.value ?? '')?.[1]
  if (chardev === undefined || model === undefined) return given
  draft.options.tpm = { model: model as 'tis' | 'crb' }
  draft.translate(back, 'tpm', 'withvm starts the program that emulates the TPM')
  return given.filter((one) => one !== back && one !== chardev && one !== device)
}

/** How `vm.commandLine` begins where there is a TPM: with the program that emulates it. */
const PREFACE = /^mkdir -p \S+ && swtpm socket (--tpm2 )?[^;&|]* --daemon && /

/** Leaves that beginning out, and gives the version of its TPM. */
export function splitPreface(line: string): {
  readonly line: string
  readonly version: '1.2' | '2.0' | undefined
} {
  const match = PREFACE.exec(line)
  if (match === null) return { line, version: undefined }
  return { line: line.slice(match[0].length), version: match[1] === undefined ? '1.2' : '2.0' }
}
