import type { DiskFormat } from '../spec/base-image.js'
import { findPacking, type Packing } from './packing.js'

/** What the first bytes of a file say it is: a disk of a format, what may have one in it, or something else. */
export type Content =
  | { readonly kind: 'disk'; readonly format: DiskFormat }
  | { readonly kind: 'packed'; readonly packing: Packing }
  | { readonly kind: 'tar' }
  | { readonly kind: 'other'; readonly what: string; readonly hint: string }

/** How many bytes {@link identifyContent} looks at: as many as a qcow2 file's header may have. */
export const IDENTIFYING_BYTES = 4096

const MAGICS: ReadonlyArray<{ readonly at: number; readonly bytes: string; readonly format: DiskFormat }> = [
  { at: 0, bytes: '514649fb', format: 'qcow2' },
  { at: 0, bytes: Buffer.from('KDMV').toString('hex'), format: 'vmdk' },
  { at: 0, bytes: Buffer.from('# Disk DescriptorFile').toString('hex'), format: 'vmdk' },
  { at: 0x40, bytes: '7f10dabe', format: 'vdi' },
  { at: 0, bytes: '4c554b53babe', format: 'luks' },
  { at: 0, bytes: Buffer.from('vhdxfile').toString('hex'), format: 'vhdx' },
  { at: 0, bytes: Buffer.from('conectix').toString('hex'), format: 'vpc' },
]

const OTHERS: ReadonlyArray<{
  readonly at?: number
  readonly bytes: string
  readonly what: string
  readonly hint: string
}> = [
  { bytes: '504b0304', what: 'a zip archive', hint: 'Unpack it first, with: unzip FILE' },
  { bytes: '377abcaf271c', what: 'a 7z archive', hint: 'Unpack it first, with: 7z x FILE' },
  {
    bytes: '7f454c46',
    what: 'an ELF file (a program or a kernel)',
    hint: 'A kernel goes into the option `kernel`.',
  },
]

/** Tells the format by the content alone. What has no mark of a format is a raw disk. */
export function identifyContent(head: Buffer): Content {
  const has = (at: number, bytes: string) => head.toString('hex', at, at + bytes.length / 2) === bytes
  const magic = MAGICS.find(({ at, bytes }) => has(at, bytes))
  if (magic !== undefined) return { kind: 'disk', format: magic.format }
  const packing = findPacking(head)
  if (packing !== undefined) return { kind: 'packed', packing }
  if (head.toString('latin1', 257, 262) === 'ustar') return { kind: 'tar' }
  const other = OTHERS.find(({ at, bytes }) => has(at ?? 0, bytes))
  if (other !== undefined) return { kind: 'other', what: other.what, hint: other.hint }
  if (head.toString('latin1', 0x202, 0x206) === 'HdrS') {
    return { kind: 'other', what: 'a Linux kernel', hint: 'A kernel goes into the option `kernel`.' }
  }
  if (/^\s*(<!doctype html|<html)/i.test(head.toString('latin1', 0, 200))) {
    return {
      kind: 'other',
      what: 'an HTML page',
      hint: 'A download has probably ended at an error page: download the image again.',
    }
  }
  return { kind: 'disk', format: 'raw' }
}
