import { expect, test } from 'vitest'
import { findElfEnd, hideElfSection, readElfSection, readNeededLibraries } from '../../../src/kernel/elf.js'

const DT_NEEDED = 1
const TYPES = { strings: 3, dynamic: 6, data: 1 } as const

/** Makes an ELF file with a list of libraries and the path of its loader. */
function makeElf({ is64, isLittle }: { readonly is64: boolean; readonly isLittle: boolean }): Buffer {
  const width = is64 ? 8 : 4
  const file = Buffer.alloc(1024)
  const half = (value: number, at: number) =>
    isLittle ? file.writeUInt16LE(value, at) : file.writeUInt16BE(value, at)
  const word = (value: number, at: number) =>
    isLittle ? file.writeUInt32LE(value, at) : file.writeUInt32BE(value, at)
  const address = (value: number, at: number) => {
    if (!is64) return word(value, at)
    return isLittle ? file.writeBigUInt64LE(BigInt(value), at) : file.writeBigUInt64BE(BigInt(value), at)
  }
  file.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, isLittle ? 1 : 2, 1])
  const headerBytes = is64 ? 64 : 40
  const table = 512
  address(table, is64 ? 0x28 : 0x20)
  half(headerBytes, is64 ? 0x3a : 0x2e)
  half(4, is64 ? 0x3c : 0x30)
  half(3, is64 ? 0x3e : 0x32)
  const names = '\0.interp\0.dynamic\0.strings\0'
  file.write('/lib/ld.so.1\0', 128)
  file.write(`\0libc.so.6\0${names}`, 192)
  address(DT_NEEDED, 256)
  address(1, 256 + width)
  const section = (index: number, name: string, type: number, offset: number, size: number, link = 0) => {
    const at = table + index * headerBytes
    word(11 + names.indexOf(name), at)
    word(type, at + 4)
    address(offset, at + 8 + 2 * width)
    address(size, at + 8 + 3 * width)
    word(link, at + 8 + 4 * width)
  }
  section(1, '.interp', TYPES.data, 128, 13)
  section(2, '.dynamic', TYPES.dynamic, 256, 2 * width, 3)
  section(3, '.strings', TYPES.strings, 192, 11 + names.length)
  return file.subarray(0, table + 4 * headerBytes)
}

test.each([
  ['64 bits, little-endian, as on x86-64', { is64: true, isLittle: true }],
  ['64 bits, big-endian, as on s390x', { is64: true, isLittle: false }],
  ['32 bits, little-endian, as on ARM', { is64: false, isLittle: true }],
  ['32 bits, big-endian, as on PowerPC', { is64: false, isLittle: false }],
])('the needed libraries of a file of %s are listed', (_, shape) => {
  const elf = makeElf(shape)
  expect(readNeededLibraries(elf)).toEqual(['libc.so.6'])
  expect(readElfSection(elf, '.interp')?.toString()).toBe('/lib/ld.so.1\0')
  expect(findElfEnd(Buffer.concat([elf, Buffer.from('signature')]))).toBe(elf.length)
  const hidden = hideElfSection(elf, '.interp')
  expect(readElfSection(hidden, '.interp')).toBeUndefined()
  expect(readNeededLibraries(hidden)).toEqual(['libc.so.6'])
})

test('a file that is not an ELF file needs no libraries', () => {
  expect(readNeededLibraries(Buffer.alloc(100))).toEqual([])
})
