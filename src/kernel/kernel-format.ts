import { identifyContent } from '../disk/disk-format.js'
import type { GuestArch } from '../spec/architectures.js'

/** How many bytes {@link findKernelProblem} looks at. */
export const KERNEL_HEAD_BYTES = 4096

/** A family of guests that start the same kernels. */
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

/** Machines of ELF files (`e_machine`), by the guests that run them: a guest of 64 bits may start a program of 32. */
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

/** Marks of a kernel of one family: the Linux sources, Documentation/arch. A mark of x86 says nothing about who else reads it. */
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

/** Files that no firmware and no QEMU starts. */
const OTHERS: ReadonlyArray<{ readonly at: number; readonly mark: string; readonly what: string }> = [
  { at: 0, mark: '070701', what: 'an initial RAM file system (cpio), which goes into `initrd`' },
  { at: 0, mark: '070702', what: 'an initial RAM file system (cpio), which goes into `initrd`' },
  { at: 0, mark: '!<arch>\n', what: 'a Debian package' },
  { at: 0, mark: '\xed\xab\xee\xdb', what: 'an RPM package' },
  { at: 0, mark: '\x02\x21\x4c\x18', what: 'an lz4 file' },
]

/** Who unpacks gzip by itself: QEMU does so for arm64, and whether other boot loaders do is not certain. */
const KNOWN_WITHOUT_GZIP: readonly Family[] = ['x86', 'arm', 's390x', 'ppc64']

/**
 * Returns what a file is where a guest of that architecture certainly cannot start it as its kernel; undefined where it may. Pure.
 *
 * @param head the first {@link KERNEL_HEAD_BYTES} of the file, or all of a shorter one
 */
export function findKernelProblem(head: Buffer, arch: GuestArch): string | undefined {
  if (head.length === 0) return 'which is empty'
  const family = FAMILIES[arch]
  const has = (at: number, mark: string) => head.toString('latin1', at, at + mark.length) === mark
  const other = OTHERS.find(({ at, mark }) => has(at, mark))
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
    return isCertain ? `which is packed by ${name}: unpack it first` : undefined
  }
  // An ELF file of this architecture, and a kernel of x86 for such a guest, are what is wanted here.
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
