import { identifyContent } from '../disk/disk-format.js'
import type { GuestArch } from '../spec/architectures.js'

/** Number of bytes that {@link findKernelProblem} needs. */
export const KERNEL_HEAD_BYTES = 4096

/** Architectures that boot the same kernels. */
type Family = 'x86' | 'arm' | 'aarch64' | 'riscv64' | 'ppc64' | 's390x'

const FAMILIES: Partial<Record<GuestArch, Family>> = {
  x86_64: 'x86',
  i386: 'x86',
  arm: 'arm',
  aarch64: 'aarch64',
  riscv64: 'riscv64',
  ppc64: 'ppc64',
  s390x: 's390x',
}

/**
 * ELF machines (`e_machine`) and the families that can run them: a 64-bit guest may start a 32-bit
 * program.
 */
const ELF_MACHINES: Readonly<Record<number, readonly Family[]>> = {
  3: ['x86'],
  62: ['x86'],
  40: ['arm', 'aarch64'],
  183: ['aarch64'],
  243: ['riscv64'],
  20: ['ppc64'],
  21: ['ppc64'],
  22: ['s390x'],
}

/**
 * Magic numbers of kernels of one family (Linux sources, Documentation/arch). An x86 kernel may
 * still be readable by other loaders.
 */
const KERNEL_MARKS: ReadonlyArray<{
  readonly at: number
  readonly mark: string
  readonly families: readonly Family[]
}> = [
  { at: 0x202, mark: 'HdrS', families: ['x86'] },
  { at: 0x38, mark: 'ARM\x64', families: ['aarch64'] },
  { at: 0x38, mark: 'RSC\x05', families: ['riscv64'] },
  { at: 0x24, mark: '\x18\x28\x6f\x01', families: ['arm', 'aarch64'] },
]

/** File formats that neither firmware nor QEMU can boot. */
const UNBOOTABLE_FORMATS: ReadonlyArray<{
  readonly at: number
  readonly mark: string
  readonly what: string
}> = [
  { at: 0, mark: '070701', what: 'an initial RAM file system (cpio), which goes into `initrd`' },
  { at: 0, mark: '070702', what: 'an initial RAM file system (cpio), which goes into `initrd`' },
  { at: 0, mark: '!<arch>\n', what: 'a Debian package' },
  { at: 0, mark: '\xed\xab\xee\xdb', what: 'an RPM package' },
  { at: 0, mark: '\x02\x21\x4c\x18', what: 'an lz4 file' },
]

/**
 * Families that certainly cannot boot a gzip file. QEMU unpacks it for arm64; other boot loaders
 * may.
 */
const KNOWN_WITHOUT_GZIP: readonly Family[] = ['x86', 'arm', 's390x', 'ppc64']

/**
 * Returns a description of a file that certainly cannot be booted as a kernel on that architecture;
 * undefined if it may be bootable. Pure.
 *
 * @param head the first {@link KERNEL_HEAD_BYTES} bytes of the file, or all of a shorter one
 */
export function findKernelProblem(head: Buffer, arch: GuestArch): string | undefined {
  if (head.length === 0) return 'which is empty'
  const family = FAMILIES[arch]
  const has = (at: number, mark: string) => head.toString('latin1', at, at + mark.length) === mark
  const other = UNBOOTABLE_FORMATS.find(({ at, mark }) => has(at, mark))
  if (other !== undefined) return `which is ${other.what}`
  const foreign = findForeignKernel(head, family, has)
  if (foreign !== undefined) return `which is a kernel for ${foreign}`
  const content = identifyContent(head)
  if (content.kind === 'tar') return 'which is a tar archive'
  if (content.kind === 'disk')
    return content.format === 'raw' ? undefined : `which is a ${content.format} disk`
  if (content.kind === 'packed') {
    const { name } = content.packing
    const isCertain = name !== 'gzip' || (family !== undefined && KNOWN_WITHOUT_GZIP.includes(family))
    return isCertain ? `which is compressed with ${name}: unpack it first` : undefined
  }
  // ELF files of this architecture and matching x86 kernels are valid here.
  return /ELF|kernel/.test(content.what) ? undefined : `which is ${content.what}`
}

function findForeignKernel(
  head: Buffer,
  family: Family | undefined,
  has: (at: number, mark: string) => boolean,
): string | undefined {
  if (family === undefined) return undefined
  if (has(0, '\x7fELF') && head.length >= 20) {
    const machine = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18)
    const families = ELF_MACHINES[machine]
    return families === undefined || families.includes(family) ? undefined : families.join(' or ')
  }
  const mark = KERNEL_MARKS.find(({ at, mark }) => has(at, mark))
  return mark === undefined || mark.families.includes(family) ? undefined : mark.families.join(' or ')
}
