import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import { listenUnix, type UnixListener } from '../../channel/unix-listener.js'
import { raceSignal } from '../../common/deadline.js'
import { pollUntil } from '../../common/poll.js'
import { changeOwner } from '../../common/process/host-user.js'
import { toDiskError } from '../../common/process/run-tool.js'
import { vmError } from '../../errors.js'
import type { ForkParent } from '../power/power.js'
import type { Workspace } from '../workspace/workspace.js'
import { SAVE_MS, type SavedRam, type SaveMethod } from './save-method.js'

const SOCKET = 'fork.sock'
/** Polling interval of the migration status, in milliseconds. */
const POLL_MS = 2

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
    const { qmp } = session
    const wait = { timeoutMs: SAVE_MS * machine.host.timeFactor, signal }
    const accepted = this.#listener.accept(wait)
    accepted.catch(() => {})
    await qmp.execute('migrate', { uri: `unix:${this.#listener.path}` }, wait)
    const socket = await accepted
    try {
      const written = finished(socket.pipe(createWriteStream(this.#state, { mode: 0o600, flags: 'wx' })))
      written.catch(() => {})
      const isSaved = async () => {
        const { status, 'error-desc': reason = String(status) } = await qmp.execute('query-migrate', {}, wait)
        if (status === 'failed' || status === 'cancelled') throw notSavedError(machine.name, reason)
        return status === 'completed' ? true : undefined
      }
      await Promise.all([
        pollUntil(isSaved, { intervalMs: POLL_MS, signal }),
        raceSignal(written, signal).catch((error: unknown) => {
          throw toDiskError(error, 'saving the RAM of a guest')
        }),
      ])
    } catch (error) {
      socket.destroy()
      await qmp.execute('migrate_cancel').catch(() => {}) // QEMU has ended
      throw error
    }
  }

  async complete(): Promise<SavedRam> {
    // The name of the block of RAM depends on the file, so children map it too.
    return { memory: this.#parent.session.restoredFrom?.memory ?? [], state: this.#state, isRamInState: true }
  }

  dispose(): Promise<void> {
    return this.#listener.close()
  }
}

function notSavedError(name: string, got: string) {
  return vmError('FORK_FAILED', {
    summary: `The guest '${name}' could not be forked: QEMU did not save its state.`,
    got,
    hint: 'Check the free space and the load of this host, then retry.',
  })
}
