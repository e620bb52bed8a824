import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { SpaceWatch } from '../common/files/free-space.js'
import { SparseFile } from '../common/files/sparse-file.js'
import { streamTool } from '../common/process/run-tool.js'
import { formatBytes } from '../common/units.js'
import type { Packing } from '../disk/packing.js'
import { vmError } from '../errors.js'

const UNPACK_TIMEOUT_MS = 60 * 60 * 1000

/**
 * Unpacks a file into a new sparse file. Stops before the disk is full.
 *
 * @throws {UsageError} IMAGE_INVALID when it is damaged or truncated.
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
          timeoutMs: UNPACK_TIMEOUT_MS,
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

const DAMAGED = 'Download or copy the file again: it is damaged or truncated.'

async function gunzip(
  path: string,
  consume: (piece: Buffer) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = createReadStream(path)
  const unpacked = source.pipe(createGunzip({ chunkSize: 1 << 18 }))
  // `pipe()` does not forward errors of the source.
  source.once('error', (error) => unpacked.destroy(error))
  try {
    for await (const piece of unpacked) {
      signal?.throwIfAborted()
      await consume(piece as Buffer)
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== undefined && /^Z_/.test(code)) throw damagedArchiveError(path, message)
    throw error
  } finally {
    source.destroy()
  }
}

function damagedArchiveError(path: string, got: string) {
  return vmError('IMAGE_INVALID', {
    summary: `The image ${path} cannot be unpacked.`,
    expected: 'a complete gzip file',
    got,
    hint: DAMAGED,
  })
}
