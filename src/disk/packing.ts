import type { HostTool } from '../common/process/run-tool.js'

/** Which of them a distribution's kernel and modules need differs from release to release. */
export const DECOMPRESSORS = {
  xz: {
    program: 'xz',
    aptPackage: 'xz-utils',
    why: 'unpacks kernels and their modules',
    parsesImages: true,
  },
  zstd: {
    program: 'zstd',
    aptPackage: 'zstd',
    why: 'unpacks kernels and their modules',
    parsesImages: true,
  },
} as const satisfies Record<string, HostTool>

const BZIP2: HostTool = {
  program: 'bzip2',
  aptPackage: 'bzip2',
  why: 'unpacks disk images',
  parsesImages: true,
}

/** The programs of the host that unpack what Node cannot. */
export const UNPACK_TOOLS: readonly HostTool[] = [DECOMPRESSORS.xz, DECOMPRESSORS.zstd, BZIP2]

/** A way in which a file is packed as a whole. */
export interface Packing {
  readonly name: string
  /** The first bytes of such a file, in hexadecimal. */
  readonly magic: RegExp
  /** The program that writes the content to its output; undefined where Node does it. */
  readonly tool?: HostTool
  readonly args?: readonly string[]
}

const PACKINGS: readonly Packing[] = [
  { name: 'gzip', magic: /^1f8b08/ },
  // With one thread: how much memory several take depends on the host.
  { name: 'xz', magic: /^fd377a585a00/, tool: DECOMPRESSORS.xz, args: ['-dc', '-T1', '--'] },
  // Files that were packed with a window above zstd's own limit are refused without `--long`.
  { name: 'zstd', magic: /^28b52ffd/, tool: DECOMPRESSORS.zstd, args: ['-dcq', '--long=31', '--'] },
  // `BZh`, a digit, and the first block's mark or that of an empty file.
  { name: 'bzip2', magic: /^425a683[1-9](314159265359|177245385090)/, tool: BZIP2, args: ['-dc', '--'] },
]

/** How a file is packed, by its first bytes; undefined where it is not. */
export function findPacking(head: Buffer): Packing | undefined {
  const hex = head.toString('hex', 0, 10)
  return PACKINGS.find(({ magic }) => magic.test(hex))
}
