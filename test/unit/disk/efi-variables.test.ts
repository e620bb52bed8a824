import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { addBootOption } from '../../../src/disk/efi-variables.js'
import { failureOf } from '../../support/failure-of.js'

const OPTION = { description: 'test', uri: 'http://10.0.2.80/loader.efi', once: false }
const STORE_AT = 72
const STATE_AT = 2

/** Makes a flash chip with an empty variable store of that size, like `OVMF_VARS.fd`. */
function emptyFlash(storeBytes = 4096): Buffer {
  const flash = Buffer.alloc(8192, 0xff)
  flash.fill(0, 0, STORE_AT)
  flash.write('_FVH', 40, 'latin1')
  flash.writeUInt16LE(STORE_AT, 48)
  Buffer.from('782cf3aa7b949a43a1802e144ec37792', 'hex').copy(flash, STORE_AT)
  flash.writeUInt32LE(storeBytes, STORE_AT + 16)
  return flash
}

/** Reads the valid variables, by name. */
function read(flash: Buffer): Record<string, Buffer> {
  const found: Record<string, Buffer> = {}
  for (let at = STORE_AT + 28; flash.readUInt16LE(at) === 0x55aa; ) {
    const dataAt = at + 60 + flash.readUInt32LE(at + 36)
    const end = dataAt + flash.readUInt32LE(at + 40)
    const name = flash.toString('utf16le', at + 60, dataAt - 2)
    if (flash[at + STATE_AT] === 0x3f) found[name] = flash.subarray(dataAt, end)
    at = Math.ceil(end / 4) * 4
  }
  return found
}

test('a boot option is used for the next boot, and is first in the boot order', () => {
  const variables = read(addBootOption(emptyFlash(), OPTION))
  expect(Object.keys(variables)).toEqual(['Boot0000', 'BootNext', 'BootOrder'])
  expect(variables.BootOrder?.toString('hex')).toBe('0000')
  const option = variables.Boot0000 as Buffer
  expect(option.readUInt32LE()).toBe(1)
  expect(option.toString('utf16le', 6, 14)).toBe('test')
  // One node, which is a URI, and the end of the path.
  const path = option.subarray(16)
  expect(path.length).toBe(option.readUInt16LE(4))
  expect(path.subarray(0, 4).toString('hex')).toBe('03181f00')
  expect(path.toString('latin1', 4, path.length - 4)).toBe(OPTION.uri)
})

test('a one-time boot option is not added to the boot order', () => {
  const variables = read(addBootOption(emptyFlash(), { ...OPTION, once: true }))
  expect(Object.keys(variables)).toEqual(['Boot0000', 'BootNext'])
})

test('a new boot option gets an unused number and precedes existing ones, and the old boot order is replaced', () => {
  const first = addBootOption(emptyFlash(), OPTION)
  const variables = read(addBootOption(first, { ...OPTION, uri: 'http://10.0.2.80/other.efi' }))
  expect(Object.keys(variables).sort()).toEqual(['Boot0000', 'Boot0001', 'BootNext', 'BootOrder'])
  expect(variables.BootOrder?.toString('hex')).toBe('01000000')
  expect(variables.BootNext?.toString('hex')).toBe('0100')
})

test('a blank flash chip, as shipped with ARM firmware, is initialized', () => {
  const flash = addBootOption(Buffer.alloc(0x100000), OPTION)
  expect(Object.keys(read(flash))).toEqual(['Boot0000', 'BootNext', 'BootOrder'])
  expect(flash.readUInt32LE(STORE_AT + 16)).toBe(0x40000 - STORE_AT)
  // The checksum of the volume header is zero.
  const words = Array.from({ length: STORE_AT / 2 }, (_, index) => flash.readUInt16LE(2 * index))
  expect(words.reduce((sum, word) => sum + word, 0) & 0xffff).toBe(0)
  // Data after the volume is unchanged.
  expect(flash[0xbffff]).toBe(0xff)
  expect(flash[0xc0000]).toBe(0)
})

test.each([
  ['content without a variable store', Buffer.alloc(512, 'x'), 'got: no firmware volume'],
  ['a full store', emptyFlash(128), 'a full store'],
  ['a store that exceeds the chip', emptyFlash(100_000), 'a store that ends after byte 8192'],
])('%s is rejected', async (_, flash, got) => {
  const error = await failureOf(Promise.resolve().then(() => addBootOption(flash, OPTION)))
  expect(error.code).toBe('FIRMWARE_INVALID')
  expect(error.details.got).toContain(got.replace('got: ', ''))
})

test("the UEFI variables of this host's firmware accept a boot option", async () => {
  const flash = await readFile('/usr/share/OVMF/OVMF_VARS_4M.fd')
  expect(Object.keys(read(addBootOption(flash, OPTION)))).toContain('Boot0000')
})
