import { link, lstat, stat, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { readWrittenFile } from '../../common/files/written-file.js'
import { settleAll } from '../../common/settle-all.js'
import { MIB } from '../../common/units.js'
import { createOverlay } from '../../disk/overlay.js'
import { copyWrittenFile, readVirtualBytes } from '../../disk/written-overlay.js'
import { vmError } from '../../errors.js'
import { diskFileNode, diskNode } from '../../qemu/argv/disks.js'
import type { DiskFile, FrozenLayers } from '../../qemu/command.js'
import type { SystemDiskSpec } from '../../spec/disk-spec.js'
import { overlayName } from '../machine/disks.js'
import type { ForkedDisk } from '../machine/forked-state.js'
import type { ForkParent } from '../power/power.js'
import type { Workspace } from '../workspace/workspace.js'
import { mergeLayers } from './merge-layers.js'

/**
 * Size up to which an overlay is copied while the guest is paused, which takes a few milliseconds
 * and adds no layer. A larger one becomes a layer.
 */
const MAX_COPY_BYTES = 4 * MIB
/** A guest can write this much between the preparation and the pause without a slow copy. */
const MARGIN_BYTES = 1 * MIB
/**
 * Number of layers above which they are merged before another one is added: each one slows reads
 * down and is an open file.
 */
const MAX_LAYERS = 8
const NO_LAYERS: FrozenLayers = { generation: 0, files: [] }

/** Overlay to which a guest writes. */
interface Overlay {
  readonly index: number
  readonly file: DiskFile
  readonly spec: SystemDiskSpec
}

/** Returns the overlays of a guest. Other disks are read-only or have no medium. */
function listOverlays({ machine: { files, spec } }: ForkParent): Overlay[] {
  const system = files.overlay === undefined ? [] : [{ index: 0, file: files.overlay, spec: spec.systemDisk }]
  const further = spec.disks.flatMap((disk, at) => {
    const file = files.disks[at]
    return file === undefined || disk.isReadonly ? [] : [{ index: at + 1, file, spec: disk }]
  })
  return [...system, ...further]
}

/**
 * Makes the disks of a guest available to its children, such that no guest sees later writes of
 * another one.
 */
export class DiskFreeze {
  readonly #parent: ForkParent
  readonly #folder: Workspace
  readonly #disks: readonly FrozenDisk[]

  private constructor(parent: ForkParent, folder: Workspace, disks: readonly FrozenDisk[]) {
    this.#parent = parent
    this.#folder = folder
    this.#disks = disks
  }

  /** Prepares all disks while the guest runs. */
  static async prepare(parent: ForkParent, folder: Workspace, signal: AbortSignal): Promise<DiskFreeze> {
    const disks = listOverlays(parent).map((overlay) => new FrozenDisk(parent, folder, overlay))
    const freeze = new DiskFreeze(parent, folder, disks)
    try {
      await settleAll(Object.fromEntries(disks.map((disk) => [disk.index, disk.prepare(signal)])))
      return freeze
    } catch (error) {
      await freeze.dispose()
      throw error
    }
  }

  /** Copies small overlays, and freezes the others at the same moment. */
  async freezeWhilePaused(): Promise<void> {
    const { session, signal } = this.#parent
    await Promise.all(this.#disks.map((disk) => disk.copySmall()))
    const frozen = this.#disks.filter(({ becomesLayer }) => becomesLayer)
    if (frozen.length === 0) return
    const actions = frozen.map(({ nodes }) => ({
      type: 'blockdev-snapshot',
      data: { node: nodes.from, overlay: nodes.to },
    }))
    await session.qmp.execute('transaction', { actions }, { signal })
    for (const disk of frozen) disk.useNext()
  }

  /** Returns the disks of children, whose index is that of their disk. */
  async complete(): Promise<Array<ForkedDisk | undefined>> {
    const forked: Array<ForkedDisk | undefined> = []
    for (const disk of this.#disks) forked[disk.index] = await disk.complete()
    await this.#linkLayers(forked)
    return forked
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#disks.map((disk) => disk.dispose()))
  }

  /** Links the layers, so that they outlive the parent. */
  async #linkLayers(disks: readonly (ForkedDisk | undefined)[]): Promise<void> {
    const { workspace, host } = this.#parent.machine
    const uid = host.user?.uid ?? process.geteuid?.()
    for (const name of disks.flatMap((disk) => disk?.layers.files ?? [])) {
      const path = this.#folder.path(name)
      await link(workspace.folder.entry(name), path)
      // The user of `runAs` could have replaced the file in its folder.
      const linked = await lstat(path)
      if (!linked.isFile() || linked.uid !== uid) throw changedLayerError(name)
    }
  }
}

/** One disk of a guest that is forked. */
class FrozenDisk {
  readonly index: number
  readonly #parent: ForkParent
  readonly #folder: Workspace
  #overlay: Overlay
  /** Overlay on which the parent continues, once QEMU has opened it. */
  #next: DiskFile | undefined
  #isUsed = false
  #copy: Buffer | 'copied' | undefined
  #from = ''

  constructor(parent: ForkParent, folder: Workspace, overlay: Overlay) {
    this.index = overlay.index
    this.#parent = parent
    this.#folder = folder
    this.#overlay = overlay
  }

  get nodes(): { readonly from: string; readonly to: string } {
    return { from: this.#from, to: diskNode(this.index, this.#next?.layers) }
  }

  /** If true, the present overlay becomes a layer, and children get an empty one. */
  get becomesLayer(): boolean {
    return this.#copy === undefined
  }

  /** Lets QEMU open an empty overlay, unless the present one will be copied. */
  async prepare(signal: AbortSignal): Promise<void> {
    // Restoring a checkpoint needs the file that contains it.
    if (this.#parent.hasCheckpoints) return
    if ((await stat(this.#overlay.file.path)).size <= MAX_COPY_BYTES - MARGIN_BYTES) return
    const { machine, session } = this.#parent
    this.#from = await this.#findNode(signal)
    const file = await this.#limitLayers(signal)
    const { generation, files } = file.layers ?? NO_LAYERS
    const layers = { generation: generation + 1, files: [...files, basename(file.path)] }
    const path = machine.workspace.path(overlayName(this.index, layers.generation))
    const base = { path: basename(file.path), format: 'qcow2' } as const
    const virtualBytes = await readVirtualBytes(file.path)
    const shared = { base, virtualBytes, signal }
    await Promise.all([
      createOverlay({ ...shared, path, user: machine.host.user }),
      createOverlay({ ...shared, path: this.#emptyPath }),
    ])
    const next = { ...file, path, layers }
    await session.qmp.execute('blockdev-add', describeNode(this.#overlay, next), { signal })
    this.#next = next
  }

  /** Copies the overlay of a paused guest, unless it becomes a layer. */
  async copySmall(): Promise<void> {
    const { path } = this.#overlay.file
    const { size } = await stat(path)
    if (size <= MAX_COPY_BYTES) {
      this.#copy = await readWrittenFile(path, MAX_COPY_BYTES)
    } else if (this.#next === undefined) {
      await copyWrittenFile(path, this.#copyPath, this.#parent.signal)
      this.#copy = 'copied'
    }
  }

  /** Records that QEMU writes to the new overlay now. */
  useNext(): void {
    if (this.#next === undefined) throw new TypeError('the disk was not prepared')
    this.#isUsed = true
    this.#parent.machine.replaceOverlay(this.index, this.#next)
  }

  async complete(): Promise<ForkedDisk> {
    if (this.#isUsed && this.#next?.layers !== undefined)
      return { overlay: this.#emptyPath, layers: this.#next.layers }
    if (Buffer.isBuffer(this.#copy)) await writeFile(this.#copyPath, this.#copy, { mode: 0o600, flag: 'wx' })
    return { overlay: this.#copyPath, layers: this.#overlay.file.layers ?? NO_LAYERS }
  }

  /** Removes an overlay that is not used. */
  async dispose(): Promise<void> {
    const { session, machine } = this.#parent
    if (this.#isUsed || this.#next === undefined) return
    const { to } = this.nodes
    await session.qmp.execute('blockdev-del', { 'node-name': to }).catch(() => {}) // QEMU has ended
    await machine.workspace.folder.remove(basename(this.#next.path))
  }

  /** Merges the layers of the present overlay if there are too many. */
  async #limitLayers(signal: AbortSignal): Promise<DiskFile> {
    const { file } = this.#overlay
    if ((file.layers?.files.length ?? 0) < MAX_LAYERS) return file
    const merged = await mergeLayers(this.#parent, this.index, file, this.#from, signal)
    this.#overlay = { ...this.#overlay, file: merged }
    return merged
  }

  get #emptyPath(): string {
    return this.#folder.path(`empty-${this.index}.qcow2`)
  }

  get #copyPath(): string {
    return this.#folder.path(`copy-${this.index}.qcow2`)
  }

  async #findNode(signal: AbortSignal): Promise<string> {
    if (this.index === 0) return diskNode(0, this.#overlay.file.layers)
    const blocks = await this.#parent.session.qmp.execute('query-block', {}, { signal })
    const block = blocks.find(({ device }) => device === `disk${this.index}`)
    return block?.inserted?.['node-name'] ?? ''
  }
}

/** Describes a block node for `blockdev-add`, with the settings of the disk's `-drive`. */
function describeNode({ index, spec }: Overlay, { path, layers }: DiskFile): object {
  const shared = {
    discard: spec.discard,
    cache: {
      direct: spec.cache === 'none' || spec.cache === 'directsync',
      'no-flush': spec.cache === 'unsafe',
    },
  }
  const file = { ...shared, driver: 'file', 'node-name': diskFileNode(index, layers), filename: path }
  return { ...shared, driver: 'qcow2', 'node-name': diskNode(index, layers), backing: null, file }
}

function changedLayerError(name: string) {
  return vmError('FORK_FAILED', {
    summary: `The guest could not be forked: its disk ${name} is not a file of the user who runs QEMU.`,
    hint: 'Check whether QEMU was compromised: neither a guest nor withvm makes such a change.',
  })
}
