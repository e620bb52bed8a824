import { lstat, writeFile } from 'node:fs/promises'
import { CleanupStack } from '../../common/cleanup-stack.js'
import { readWrittenStart } from '../../common/files/written-file.js'
import { settleAll } from '../../common/settle-all.js'
import { MIB } from '../../common/units.js'
import { copyWrittenFile } from '../../disk/written-overlay.js'
import type { MachineSnapshot } from '../machine/guest-plan.js'
import type { ForkParent } from '../power/power.js'
import { guardExit } from '../workspace/exit-guard.js'
import { openWorkspace, type Workspace } from '../workspace/workspace.js'
import { DiskFreeze } from './freeze-disks.js'
import type { SaveMethod } from './save-method.js'
import { MigrationSave } from './save-migration.js'
import { PageSave } from './save-pages.js'

/** A snapshot of a running guest that is being taken, in a folder of its own. */
export class Capture {
  readonly parent: ForkParent
  readonly #folder: Workspace
  readonly #disks: DiskFreeze
  readonly #save: SaveMethod
  readonly #cleanup: CleanupStack
  /** Releases what the next fork of the parent uses too. */
  readonly #parentCleanup: CleanupStack
  #consoleBytes = 0
  #bootOffset = 0

  private constructor(
    parent: ForkParent,
    folder: Workspace,
    parts: {
      readonly disks: DiskFreeze
      readonly save: SaveMethod
      readonly cleanup: CleanupStack
      readonly parentCleanup: CleanupStack
    },
  ) {
    this.parent = parent
    this.#folder = folder
    this.#disks = parts.disks
    this.#save = parts.save
    this.#cleanup = parts.cleanup
    this.#parentCleanup = parts.parentCleanup
  }

  /** Prepares everything that is possible while the guest runs. */
  static async prepare(parent: ForkParent, tmpdir: string, signal: AbortSignal): Promise<Capture> {
    const cleanup = new CleanupStack()
    const parentCleanup = new CleanupStack()
    try {
      const folder = await openWorkspace(tmpdir)
      cleanup.defer(guardExit(() => folder.removeSync()))
      cleanup.defer(() => folder.dispose())
      cleanup.defer(() => parentCleanup.dispose())
      const save =
        (await PageSave.prepare(parent, folder, signal)) ?? (await MigrationSave.prepare(parent, folder))
      parentCleanup.defer(() => save.dispose())
      const disks = await DiskFreeze.prepare(parent, folder, signal)
      parentCleanup.defer(() => disks.dispose())
      return new Capture(parent, folder, { disks, save, cleanup, parentCleanup })
    } catch (error) {
      await cleanup.dispose()
      throw error
    }
  }

  get method(): SaveMethod['name'] {
    return this.#save.name
  }

  /** Saves what changes as soon as the guest runs again. */
  async saveWhilePaused(): Promise<void> {
    const { machine, session } = this.parent
    const { firmware } = machine.files
    // Before the RAM is saved: a migration lets QEMU close the disks.
    await this.#disks.freezeWhilePaused()
    if (firmware !== undefined) await copyWrittenFile(firmware.vars.path, this.#variables)
    await this.#save.saveWhilePaused()
    // QEMU has written all output of the guest to its socket before it responded.
    this.#consoleBytes = (await lstat(this.#consoleLog)).size
    this.#bootOffset = session.bootMark.offset
  }

  /** Completes the snapshot while the guest runs. */
  async complete(identityOfChildren: 'own' | 'same'): Promise<MachineSnapshot> {
    const { machine, hostKey, readsHostKey } = this.parent
    const { saved, serialLog, disks } = await settleAll({
      saved: this.#save.complete(),
      serialLog: this.#copyConsoleLog(),
      disks: this.#disks.complete(),
    })
    return {
      ...saved,
      overlay: undefined,
      furtherOverlays: [],
      identity: machine.origin.snapshot?.identity,
      variables: machine.files.firmware === undefined ? undefined : this.#variables,
      tpmDir: undefined,
      serialLog,
      portLogs: await this.#copyPortLogs(),
      fork: {
        folder: this.#folder.dir,
        isRamInFolder: !saved.isRamInState,
        identity: machine.identity,
        identityOfChildren,
        readsHostKey,
        disks,
        clockOffsetMs: machine.clock.now() - Date.now(),
        bootOffset: this.#bootOffset,
        hostKey,
      },
    }
  }

  /** Copies the console log up to the pause. */
  async #copyConsoleLog(): Promise<string> {
    const path = this.#folder.path('serial.log')
    const { consoleBytes } = this.parent.machine.spec.limits
    const bytes = Math.min(this.#consoleBytes, consoleBytes + MIB) // some bytes beyond the limit
    await writeFile(path, await readWrittenStart(this.#consoleLog, bytes), { mode: 0o600 })
    return path
  }

  /** Writes the output of each guest port. */
  async #copyPortLogs(): Promise<string[]> {
    const ports = this.parent.machine.guestPorts
    const paths = ports.map((_, index) => this.#folder.path(`port-${index}.log`))
    for (const [index, { received }] of ports.entries()) await writeFile(paths[index] as string, received)
    return paths
  }

  /** Releases the parent for another fork. The snapshot stays. */
  async releaseParent(): Promise<void> {
    await this.#parentCleanup.dispose()
  }

  /** Removes the folder. Children have links to its files. */
  async dispose(): Promise<void> {
    await this.#cleanup.dispose()
  }

  get #consoleLog(): string {
    return this.parent.machine.workspace.path('serial.log')
  }

  get #variables(): string {
    return this.#folder.path('uefi-vars')
  }
}
