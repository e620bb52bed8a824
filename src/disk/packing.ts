import type { HostTool } from '../common/process/run-tool.js'

/**
 * Decompressors for kernels and modules. Which one is needed differs between releases of a
 * distribution.
 */
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

/** Host programs that unpack formats that Node.js cannot. */
export const UNPACK_TOOLS: readonly HostTool[] = [DECOMPRESSORS.xz, DECOMPRESSORS.zstd, BZIP2]

/** Compression format of a whole file. */
export interface Packing {
  readonly name: string
  /** First bytes of a file in this format, in hexadecimal. */
  readonly magic: RegExp
  /** Program that writes the content to stdout; undefined if Node.js unpacks the format. */
  readonly tool?: HostTool
  readonly args?: readonly string[]
}

const PACKINGS: readonly Packing[] = [
  { name: 'gzip', magic: /^1f8b08/ },
  // One thread: the memory use of several depends on the host.
  { name: 'xz', magic: /^fd377a585a00/, tool: DECOMPRESSORS.xz, args: ['-dc', '-T1', '--'] },
  // Without `--long`, zstd rejects files packed with a window above its default limit.
  { name: 'zstd', magic: /^28b52ffd/, tool: DECOMPRESSORS.zstd, args: ['-dcq', '--long=31', '--'] },
  // `BZh`, a digit, and the mark of the first block or of an empty file.
  { name: 'bzip2', magic: /^425a683[1-9](314159265359|177245385090)/, tool: BZIP2, args: ['-dc', '--'] },
]

/**
 * Returns the compression format of a file from its first bytes; undefined if it is not compressed.
 */
export function findPacking(head: Buffer): Packing | undefined {
  const hex = head.toString('hex', 0, 10)
  return PACKINGS.find(({ magic }) => magic.test(hex))
}
