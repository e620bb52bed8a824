import { listenUnix, type UnixListener } from '../../channel/unix-listener.js'
import { changeOwner } from '../../common/process/host-user.js'
import { migrateToFile } from '../power/migrate-to-file.js'
import type { ForkParent } from '../power/power.js'
import type { Workspace } from '../workspace/workspace.js'
import { SAVE_MS, type SavedRam, type SaveMethod } from './save-method.js'

const SOCKET = 'fork.sock'

/**
 * Saves any guest by a migration of devices and RAM. The guest is paused until all RAM is written.
 */
export class MigrationSave implements SaveMethod {
  readonly name = 'migration'
  readonly #parent: ForkParent
  readonly #listener: UnixListener
  readonly #state: string

  private constructor(parent: ForkParent, listener: UnixListener, state: string) {
    this.#parent = parent
    this.#listener = listener
    this.#state = state
  }

  static async prepare(parent: ForkParent, folder: Workspace): Promise<MigrationSave> {
    const { workspace, host } = parent.machine
    const boundAt = workspace.sockets.entry(SOCKET)
    const listener = await listenUnix(workspace.socket(SOCKET), { boundAt })
    if (host.user !== undefined) await changeOwner(host.user, boundAt)
    return new MigrationSave(parent, listener, folder.path('state'))
  }

  async saveWhilePaused(): Promise<void> {
    const { session, signal, machine } = this.#parent
    const wait = { timeoutMs: SAVE_MS * machine.host.timeFactor, signal }
    await migrateToFile(session, this.#listener, this.#state, wait)
  }

  async complete(): Promise<SavedRam> {
    // The name of the block of RAM depends on the file, so children map it too.
    return { memory: this.#parent.session.restoredFrom?.memory ?? [], state: this.#state, isRamInState: true }
  }

  dispose(): Promise<void> {
    return this.#listener.close()
  }
}
