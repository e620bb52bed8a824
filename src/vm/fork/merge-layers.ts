import { readWrittenBase } from '../../disk/written-overlay.js'
import { vmError } from '../../errors.js'
import { diskFileNode, diskNode } from '../../qemu/argv/disks.js'
import type { DiskFile } from '../../qemu/command.js'
import type { ForkParent } from '../power/power.js'

/** Timeout for copying the layers, in milliseconds: the host's disk may be busy. */
const MERGE_MS = 300_000

/**
 * Copies the layers below an overlay into it while the guest runs (QMP: `block-stream`). Children
 * of earlier forks have their own links to the layers. Returns the overlay without layers.
 *
 * @throws {InfrastructureError} FORK_FAILED, QMP_FAILED.
 */
export async function mergeLayers(
  { machine, session }: ForkParent,
  index: number,
  file: DiskFile,
  node: string,
  signal: AbortSignal,
): Promise<DiskFile> {
  const { generation = 0, files = [] } = file.layers ?? {}
  const { qmp } = session
  const [lowest] = files
  if (lowest === undefined) return file
  const id = `withvm-merge-${index}`
  const base = await readWrittenBase(machine.workspace.path(lowest))
  const wait = { timeoutMs: MERGE_MS, signal }
  const completed = qmp.waitForEvent('BLOCK_JOB_COMPLETED', {
    ...wait,
    predicate: ({ data }) => data.device === id,
  })
  try {
    await qmp.execute('block-stream', { 'job-id': id, device: node, ...(base && { base }) }, wait)
    const { data } = await completed
    if (data.error !== undefined) throw notMergedError(machine.name, String(data.error).slice(0, 1000))
  } catch (error) {
    // The job may have ended already.
    await qmp.execute('block-job-cancel', { device: id, force: true }).catch(() => {})
    throw error
  }
  const merged = { ...file, layers: { generation, files: [] } }
  machine.mergeOverlay(index, merged)
  // The highest one first, because each is in use by the one above it.
  for (let below = 1; below <= files.length; below++) {
    const layer = { generation: generation - below, files: [] }
    // The nodes of a command line have gone with the chain.
    await qmp.execute('blockdev-del', { 'node-name': diskNode(index, layer) }).catch(() => {})
    machine.diskUse.forget(diskFileNode(index, layer))
  }
  await Promise.all(files.map((name) => machine.workspace.folder.remove(name)))
  return merged
}

function notMergedError(name: string, got: string) {
  return vmError('FORK_FAILED', {
    summary: `The guest '${name}' could not be forked: the layers of earlier forks could not be merged.`,
    got,
    hint: 'Free disk space, or set `tmpdir` to a folder with more space.',
  })
}
