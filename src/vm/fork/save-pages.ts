import { chmod, type FileHandle, open, readFile, writeFile } from 'node:fs/promises'
import { copySparse } from '../../common/files/sparse-copy.js'
import { readWrittenFile } from '../../common/files/written-file.js'
import { MIB } from '../../common/units.js'
import { vmError } from '../../errors.js'
import { isPc } from '../../spec/architectures.js'
import type { ForkParent } from '../power/power.js'
import type { Workspace } from '../workspace/workspace.js'
import { PrivatePages } from './private-pages.js'
import { SAVE_MS, type SavedRam, type SaveMethod } from './save-method.js'
import { spliceState } from './splice-state.js'

/** Largest state of devices that is read. Without a display it has a few hundred kilobytes. */
const MAX_STATE_BYTES = 256 * MIB
/** Blocks of RAM with constant content, besides the guest's RAM itself: ROMs. */
const CONSTANT_BLOCKS = /^(?:ram|pc\.bios|pc\.rom|\/rom@etc\/\S+|\S+\.rom)$/

interface SavePaths {
  readonly memory: string
  readonly state: string
  /** Written by QEMU, in the folder of the parent. */
  readonly devices: string
}

/**
 * Saves a clone whose RAM is a private mapping of a file: the pages that differ from the file are
 * written to a copy of it. The time depends on the number of these pages, not on the size of the
 * RAM.
 */
export class PageSave implements SaveMethod {
  readonly name = 'pages'
  readonly #parent: ForkParent
  readonly #pages: PrivatePages
  readonly #paths: SavePaths
  readonly #base: Buffer
  readonly #target: FileHandle
  #writeRest: () => Promise<void> = async () => {}

  private constructor(
    parent: ForkParent,
    pages: PrivatePages,
    paths: SavePaths,
    files: { readonly base: Buffer; readonly target: FileHandle },
  ) {
    this.#parent = parent
    this.#pages = pages
    this.#paths = paths
    this.#base = files.base
    this.#target = files.target
  }

  /** Prepares the save. Returns undefined if the guest cannot be saved in this way. */
  static async prepare(
    parent: ForkParent,
    folder: Workspace,
    signal: AbortSignal,
  ): Promise<PageSave | undefined> {
    const { machine, session } = parent
    const { restoredFrom: origin } = session
    const [memory, ...others] = origin?.memory ?? []
    if (origin === undefined || memory === undefined || others.length > 0) return undefined
    if (origin.isRamInState || !isPc(machine.spec.arch)) return undefined
    if (!(await hasOnlyConstantBlocks(parent, signal))) return undefined
    const pages = await PrivatePages.open(session.process.pid, memory, machine.spec.memoryBytes)
    if (pages === undefined) return undefined
    const paths = {
      memory: folder.path('memory'),
      state: folder.path('state'),
      // Written by QEMU, which may run as another user.
      devices: machine.workspace.path(DEVICES),
    }
    try {
      const [base] = await Promise.all([
        readFile(origin.state),
        copySparse(memory, paths.memory, signal).then(() => chmod(paths.memory, 0o600)),
      ])
      return new PageSave(parent, pages, paths, { base, target: await open(paths.memory, 'r+') })
    } catch (error) {
      await pages.close()
      throw error
    }
  }

  async saveWhilePaused(): Promise<void> {
    const { session, signal } = this.#parent
    const wait = { timeoutMs: SAVE_MS, signal }
    const [writeRest] = await Promise.all([
      this.#pages.copyTo(this.#target, signal),
      session.qmp.execute('xen-save-devices-state', { filename: this.#paths.devices, live: false }, wait),
    ])
    this.#writeRest = writeRest
  }

  async complete(): Promise<SavedRam> {
    const { memory, state, devices } = this.#paths
    await this.#writeRest()
    const spliced = spliceState(this.#base, await readWrittenFile(devices, MAX_STATE_BYTES))
    if (spliced === undefined) throw unknownFormatError(this.#parent.machine.name)
    await writeFile(state, spliced, { mode: 0o600 })
    return { memory: [memory], state, isRamInState: false }
  }

  async dispose(): Promise<void> {
    await Promise.all([
      this.#pages.close(),
      this.#target.close(),
      this.#parent.machine.workspace.folder.remove(DEVICES),
    ])
  }
}

/** File in the folder of the parent to which QEMU writes the state of its devices. */
const DEVICES = 'fork-devices'

/**
 * Returns true if all memory of the machine is the guest's RAM or constant. A display, flash or
 * plugged memory is part of the RAM sections, which are those of the template.
 */
async function hasOnlyConstantBlocks({ session }: ForkParent, signal: AbortSignal): Promise<boolean> {
  const text = await session.qmp.execute(
    'human-monitor-command',
    { 'command-line': 'info ramblock' },
    { signal },
  )
  const names = text
    .split(/\r?\n/)
    .slice(1)
    .flatMap((line) => line.trim().split(/\s+/)[0] || [])
  return names.length > 0 && names.every((name) => CONSTANT_BLOCKS.test(name))
}

function unknownFormatError(name: string) {
  return vmError('FORK_FAILED', {
    summary: `The guest '${name}' could not be forked: QEMU saved its devices in an unknown format.`,
    hint: 'Report this with the version of QEMU. `vm.checkpoint()` does not depend on the format.',
  })
}
