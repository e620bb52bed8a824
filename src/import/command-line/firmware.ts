import type { Draft, ParsedOption } from './draft.js'
import { lastValue, parseParameters } from './parameters.js'

/**
 * Parses UEFI firmware (two flash drives: read-only code and variables), a BIOS file, and an
 * emulated TPM.
 */
export function readFirmware(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  return readTpm(draft, readRom(draft, readFlash(draft, given)))
}

/** Parses `-bios`. A name without a file on this host is a data file of QEMU and passed through. */
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
    'the firmware code comes from the packages of this host',
  )
  return given.filter((one) => one !== code && one !== vars && one !== secure)
}

function readTpm(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const tpmdev = given.find(({ flag, value }) => flag === 'tpmdev' && value.startsWith('emulator,'))
  if (tpmdev === undefined) return given
  const parameters = parseParameters(tpmdev.value, 'type')
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
  draft.translate(tpmdev, 'tpm', 'withvm starts the program that emulates the TPM')
  return given.filter((one) => one !== tpmdev && one !== chardev && one !== device)
}

/** Prefix of `vm.commandLine` with a TPM: the command that starts swtpm. */
const PREFACE = /^mkdir -p \S+ && swtpm socket (--tpm2 )?[^;&|]* --daemon && /

/** Removes that prefix. Returns the TPM version. */
export function splitPreface(line: string): {
  readonly line: string
  readonly version: '1.2' | '2.0' | undefined
} {
  const match = PREFACE.exec(line)
  if (match === null) return { line, version: undefined }
  return { line: line.slice(match[0].length), version: match[1] === undefined ? '1.2' : '2.0' }
}
