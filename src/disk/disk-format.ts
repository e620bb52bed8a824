import type { DiskFormat } from '../spec/base-image.js'
import { findPacking, type Packing } from './packing.js'

/**
 * Content of a file according to its first bytes: a disk, a container that may include one, or
 * something else.
 */
export type Content =
  | { readonly kind: 'disk'; readonly format: DiskFormat }
  | { readonly kind: 'packed'; readonly packing: Packing }
  | { readonly kind: 'tar' }
  | { readonly kind: 'other'; readonly what: string; readonly hint: string }

/** Number of bytes that {@link identifyContent} needs: the maximum size of a qcow2 header. */
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

const UNSUPPORTED_FORMATS: ReadonlyArray<{
  readonly at?: number
  readonly bytes: string
  readonly what: string
  readonly hint: string
}> = [
  { bytes: '504b0304', what: 'a zip archive', hint: 'Unpack it first: `unzip FILE`.' },
  { bytes: '377abcaf271c', what: 'a 7z archive', hint: 'Unpack it first: `7z x FILE`.' },
  {
    bytes: '7f454c46',
    what: 'an ELF file (a program or a kernel)',
    hint: 'Use the option `kernel` for a kernel.',
  },
]

/**
 * Identifies content from its first bytes alone. Content without a known signature is a raw disk.
 */
export function identifyContent(head: Buffer): Content {
  const has = (at: number, bytes: string) => head.toString('hex', at, at + bytes.length / 2) === bytes
  const magic = MAGICS.find(({ at, bytes }) => has(at, bytes))
  if (magic !== undefined) return { kind: 'disk', format: magic.format }
  const packing = findPacking(head)
  if (packing !== undefined) return { kind: 'packed', packing }
  if (head.toString('latin1', 257, 262) === 'ustar') return { kind: 'tar' }
  const other = UNSUPPORTED_FORMATS.find(({ at, bytes }) => has(at ?? 0, bytes))
  if (other !== undefined) return { kind: 'other', what: other.what, hint: other.hint }
  if (head.toString('latin1', 0x202, 0x206) === 'HdrS') {
    return { kind: 'other', what: 'a Linux kernel', hint: 'Use the option `kernel` for a kernel.' }
  }
  if (/^\s*(<!doctype html|<html)/i.test(head.toString('latin1', 0, 200))) {
    return {
      kind: 'other',
      what: 'an HTML page',
      hint: 'Download the image again: the file is probably an error page of a server.',
    }
  }
  return { kind: 'disk', format: 'raw' }
}
