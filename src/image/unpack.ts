import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { vmError } from '../errors.js'
import { formatBytes } from '../spec/units.js'
import { SpaceWatch } from './free-space.js'
import { DECOMPRESSORS } from './kernel-image.js'
import { type HostTool, streamTool } from './run-tool.js'
import { SparseFile } from './sparse-file.js'

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

const UNPACK_MS = 60 * 60 * 1000

/** How a file is packed, by its first bytes; undefined where it is not. */
export function findPacking(head: Buffer): Packing | undefined {
  const hex = head.toString('hex', 0, 10)
  return PACKINGS.find(({ magic }) => magic.test(hex))
}

/**
 * Unpacks a file into a new one, with holes for what is empty. It is stopped before the disk is full.
 *
 * @throws {UsageError} IMAGE_INVALID when it is damaged or was cut off.
 * @throws {InfrastructureError} TOOL_NOT_FOUND, NO_SPACE.
 */
export async function unpackFile(options: {
  readonly from: string
  readonly to: string
  readonly packing: Packing
  readonly onAmount?: ((amount: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}): Promise<void> {
  const { from, to, packing, onAmount, signal } = options
  const file = await SparseFile.create(to)
  let bytes = 0
  const space = new SpaceWatch(to, `unpacking ${from}`)
  const consume = async (piece: Buffer): Promise<void> => {
    await file.append(piece)
    bytes += piece.length
    await space.check(bytes, undefined)
    onAmount?.(formatBytes(bytes))
  }
  try {
    if (packing.tool === undefined) await gunzip(from, consume, signal)
    else {
      await streamTool(
        {
          tool: packing.tool,
          args: [...(packing.args ?? []), from],
          purpose: `unpacking ${from}`,
          writes: false,
          code: 'IMAGE_INVALID',
          hint: DAMAGED,
          timeoutMs: UNPACK_MS,
          signal,
        },
        consume,
      )
    }
    await file.end()
  } catch (error) {
    await file.close().catch(() => {})
    throw error
  }
}

const DAMAGED = 'The file is damaged, or its download or copy has stopped half-way: make it again.'

async function gunzip(
  path: string,
  consume: (piece: Buffer) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = createReadStream(path)
  const unpacked = source.pipe(createGunzip({ chunkSize: 1 << 18 }))
  // A pipe hands errors of its source to nobody.
  source.once('error', (error) => unpacked.destroy(error))
  try {
    for await (const piece of unpacked) {
      signal?.throwIfAborted()
      await consume(piece as Buffer)
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== undefined && /^Z_/.test(code)) throw damaged(path, message)
    throw error
  } finally {
    source.destroy()
  }
}

function damaged(path: string, got: string) {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${path} cannot be unpacked.`,
    expected: 'a whole gzip file',
    got,
    hint: DAMAGED,
  })
}
