import { vmError } from '../errors.js'

/**
 * Layout of UEFI variables in flash: a volume with one store, in which each variable has a header,
 * a name and a value (EDK II, MdeModulePkg/Include/Guid/VariableFormat.h; the volume: UEFI Platform
 * Initialization, volume 3).
 */
const VOLUME = { signature: '_FVH', signatureAt: 40, headerBytesAt: 48 } as const
/** gEfiAuthenticatedVariableGuid in memory layout. */
const STORE_GUID = '782cf3aa7b949a43a1802e144ec37792'
const STORE = { headerBytes: 28, sizeAt: 16 } as const
const VARIABLE = { start: 0x55aa, headerBytes: 60, nameBytesAt: 36, dataBytesAt: 40, guidAt: 44 } as const
/** States of a variable. Each state clears more bits, which needs no erasing of the flash. */
const STATE = { added: 0x3f, deletedBit: 0x02 } as const
/** Non-volatile, with access by boot services and at runtime. */
const ATTRIBUTES = 0x7
/** EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c. */
const GLOBAL_GUID = Buffer.from('61dfe48bca93d211aa0d00e098032b8c', 'hex')
/**
 * Nodes of device paths (UEFI specification 2.10, 10.3): the URI messaging node and the end node.
 */
const URI_NODE = [3, 24] as const
const END_NODE = Buffer.from([0x7f, 0xff, 4, 0])
const LOAD_OPTION_ACTIVE = 1

/**
 * Initial content that ARM firmware writes to a blank flash chip, as shipped in its package: a
 * volume of three parts of 256 KiB, of which the first is the store (EDK II, ArmVirtPkg and
 * Platform/ARM's NorFlashDxe; copied from an initialized chip).
 */
const BLANK = {
  volumeBytes: 0xc0000,
  header: Buffer.from(
    '000000000000000000000000000000008d2bf1ff96768b4ca9852747075b4f5000000c00000000005f465648360e0000' +
      '4800f8f80000000200010000000004000000000000000000782cf3aa7b949a43a1802e144ec37792b8ff03005afe000000000000',
    'hex',
  ),
} as const

interface Variable {
  readonly at: number
  readonly name: string
  readonly data: Buffer
}

export interface UriBootOption {
  /** Description in the firmware's boot menu. */
  readonly description: string
  /** URI that the firmware boots over HTTP, through any capable card. */
  readonly uri: string
  /**
   * If true, the option is used only for the next boot; else it is also first in the boot order.
   */
  readonly once: boolean
}

/**
 * Returns the variables with an additional boot option, which the firmware boots next.
 *
 * @param flash content of the whole chip, as in `OVMF_VARS.fd`
 * @throws {UsageError} FIRMWARE_INVALID when the content is not a variable store, or the store is
 *   full.
 */
export function addBootOption(flash: Buffer, { description, uri, once }: UriBootOption): Buffer {
  const result = isBlank(flash) ? format(flash) : Buffer.from(flash)
  const store = findStore(result)
  const known = readVariables(result, store)
  const number = firstFree(known)
  const name = `Boot${number.toString(16).toUpperCase().padStart(4, '0')}`
  const order = known.find((variable) => variable.name === 'BootOrder')
  const free = { at: known.end, end: store.end }
  const write = (of: string, data: Buffer) => writeVariable(result, free, of, data)
  write(name, loadOption(description, uri))
  write('BootNext', uint16(number))
  if (once) return result
  if (order !== undefined) result[order.at + 2] = STATE.added & ~STATE.deletedBit
  write('BootOrder', Buffer.concat([uint16(number), order?.data ?? Buffer.alloc(0)]))
  return result
}

function isBlank(flash: Buffer): boolean {
  return flash.length >= BLANK.volumeBytes && flash.subarray(0, 4096).every((byte) => byte === 0)
}

function format(flash: Buffer): Buffer {
  const made = Buffer.from(flash)
  made.fill(0xff, 0, BLANK.volumeBytes)
  BLANK.header.copy(made)
  return made
}

function findStore(flash: Buffer): { readonly start: number; readonly end: number } {
  const { signature, signatureAt, headerBytesAt } = VOLUME
  if (flash.length < headerBytesAt + 2) throw invalidVariablesError(`${flash.length} bytes`)
  if (flash.toString('latin1', signatureAt, signatureAt + signature.length) !== signature)
    throw invalidVariablesError('no firmware volume at the beginning')
  const start = flash.readUInt16LE(headerBytesAt)
  if (start + STORE.headerBytes > flash.length || flash.toString('hex', start, start + 16) !== STORE_GUID)
    throw invalidVariablesError('a firmware volume without a variable store')
  const end = start + flash.readUInt32LE(start + STORE.sizeAt)
  if (end > flash.length) throw invalidVariablesError(`a store that ends after byte ${flash.length}`)
  return { start: start + STORE.headerBytes, end }
}

/** Returns the existing variables and the offset of the next one. */
function readVariables(flash: Buffer, { start, end }: { readonly start: number; readonly end: number }) {
  const found: Variable[] = []
  let at = start
  while (at + VARIABLE.headerBytes <= end && flash.readUInt16LE(at) === VARIABLE.start) {
    const nameAt = at + VARIABLE.headerBytes
    const dataAt = nameAt + flash.readUInt32LE(at + VARIABLE.nameBytesAt)
    const dataEnd = dataAt + flash.readUInt32LE(at + VARIABLE.dataBytesAt)
    if (dataEnd > end) throw invalidVariablesError(`a variable that ends after byte ${end}`)
    const isGlobal = flash.subarray(at + VARIABLE.guidAt, nameAt).equals(GLOBAL_GUID)
    if (flash[at + 2] === STATE.added && isGlobal) {
      const [name = ''] = flash.toString('utf16le', nameAt, dataAt).split('\0', 1)
      found.push({ at, name, data: flash.subarray(dataAt, dataEnd) })
    }
    at = aligned(dataEnd)
  }
  return Object.assign(found, { end: at })
}

function firstFree(known: readonly Variable[]): number {
  const taken = new Set(known.map(({ name }) => /^Boot([0-9A-F]{4})$/.exec(name)?.[1]))
  for (let number = 0; ; number++) {
    if (!taken.has(number.toString(16).toUpperCase().padStart(4, '0'))) return number
  }
}

function writeVariable(
  flash: Buffer,
  free: { at: number; readonly end: number },
  name: string,
  data: Buffer,
): void {
  const text = Buffer.from(`${name}\0`, 'utf16le')
  const header = Buffer.alloc(VARIABLE.headerBytes)
  header.writeUInt16LE(VARIABLE.start)
  header.writeUInt8(STATE.added, 2)
  header.writeUInt32LE(ATTRIBUTES, 4)
  header.writeUInt32LE(text.length, VARIABLE.nameBytesAt)
  header.writeUInt32LE(data.length, VARIABLE.dataBytesAt)
  GLOBAL_GUID.copy(header, VARIABLE.guidAt)
  const variable = Buffer.concat([header, text, data])
  if (free.at + variable.length > free.end) throw invalidVariablesError('a full store')
  variable.copy(flash, free.at)
  free.at = aligned(free.at + variable.length)
}

/** Builds an EFI_LOAD_OPTION: attributes, length of the path, description, and path. */
function loadOption(description: string, uri: string): Buffer {
  const address = Buffer.from(uri, 'latin1')
  const path = Buffer.concat([Buffer.from(URI_NODE), uint16(4 + address.length), address, END_NODE])
  const head = Buffer.alloc(6)
  head.writeUInt32LE(LOAD_OPTION_ACTIVE)
  head.writeUInt16LE(path.length, 4)
  return Buffer.concat([head, Buffer.from(`${description}\0`, 'utf16le'), path])
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

function aligned(at: number): number {
  return Math.ceil(at / 4) * 4
}

function invalidVariablesError(got: string) {
  return vmError('FIRMWARE_INVALID', {
    summary: 'The HTTP boot entry cannot be added to `firmware.vars`.',
    expected: 'a copy of an EDK II variable store, such as OVMF_VARS.fd, with free space',
    got,
    hint: 'Remove `firmware.vars` to use the variable store of the firmware package, or create the file as a copy of that store.',
  })
}
