import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { findKernelProblem } from '../../../src/kernel/kernel-format.js'
import type { GuestArch } from '../../../src/spec/architectures.js'

/** Makes the head of a file with marks at offsets. */
function file(marks: Readonly<Record<number, string | Buffer>>): Buffer {
  const head = Buffer.alloc(4096, 0x11)
  for (const [at, mark] of Object.entries(marks)) Buffer.from(mark as string, 'latin1').copy(head, Number(at))
  return head
}

const elf = (machine: number, { big = false } = {}) => {
  const head = file({ 0: `\x7fELF\x02${big ? '\x02' : '\x01'}\x01` })
  if (big) head.writeUInt16BE(machine, 18)
  else head.writeUInt16LE(machine, 18)
  return head
}

const BZ_IMAGE = file({ 0: 'MZ', 510: '\x55\xaa', 514: 'HdrS' })
const ARM64_IMAGE = file({ 0: 'MZ', 56: 'ARM\x64' })
const GZIP = gzipSync(ARM64_IMAGE)

test.each<[string, GuestArch, Buffer]>([
  ['a bzImage', 'x86_64', BZ_IMAGE],
  ['a bzImage', 'i386', BZ_IMAGE],
  ['a vmlinux', 'x86_64', elf(62)],
  ['a multiboot kernel of 32 bits', 'x86_64', elf(3)],
  ['a file without any mark', 'x86_64', file({})],
  ['an Image', 'aarch64', ARM64_IMAGE],
  ['an Image compressed with gzip', 'aarch64', GZIP],
  ['an EFI zboot kernel', 'aarch64', file({ 0: 'MZ\0\0zimg', 8: 'gzip' })],
  ['a kernel of 32 bits', 'aarch64', elf(40)],
  ['a zImage of 32 bits', 'aarch64', file({ 36: '\x18\x28\x6f\x01' })],
  ['a zImage', 'arm', file({ 36: '\x18\x28\x6f\x01' })],
  ['a uImage', 'arm', file({ 0: '\x27\x05\x19\x56' })],
  ['an Image', 'riscv64', file({ 0: 'MZ', 48: 'RISCV', 56: 'RSC\x05' })],
  ['an Image compressed with gzip', 'riscv64', GZIP],
  ['a boot loader', 'riscv64', elf(243)],
  ['a vmlinux', 'ppc64', elf(21, { big: true })],
  ['a kernel without a mark', 's390x', file({})],
  ['a vmlinux', 's390x', elf(22, { big: true })],
  ['anything', 'sparc64', elf(43, { big: true })],
])('%s may be bootable as a kernel for %s guests', (_, arch, head) => {
  expect(findKernelProblem(head, arch)).toBeUndefined()
})

test.each<[GuestArch, Buffer, string]>([
  ['x86_64', Buffer.alloc(0), 'which is empty'],
  ['x86_64', GZIP, 'which is compressed with gzip: unpack it first'],
  ['i386', GZIP, 'which is compressed with gzip: unpack it first'],
  ['aarch64', file({ 0: '\xfd7zXZ\0' }), 'which is compressed with xz: unpack it first'],
  ['x86_64', file({ 0: '070701' }), 'which is an initial RAM file system (cpio), which goes into `initrd`'],
  ['x86_64', file({ 0: '!<arch>\n' }), 'which is a Debian package'],
  ['x86_64', file({ 0: 'QFI\xfb' }), 'which is a qcow2 disk'],
  ['x86_64', file({ 0: '<!doctype html>' }), 'which is an HTML page'],
  ['x86_64', ARM64_IMAGE, 'which is a kernel for aarch64'],
  ['x86_64', elf(183), 'which is a kernel for aarch64'],
  ['aarch64', BZ_IMAGE, 'which is a kernel for x86'],
  ['aarch64', elf(62), 'which is a kernel for x86'],
  ['ppc64', elf(22, { big: true }), 'which is a kernel for s390x'],
])('a file that cannot be a kernel for %s guests is rejected: %#', (arch, head, why) => {
  expect(findKernelProblem(head, arch)).toBe(why)
})
