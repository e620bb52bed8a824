import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { UnixListener } from '../../channel/unix-listener.js'
import { raceSignal } from '../../common/deadline.js'
import { formatDuration } from '../../common/duration.js'
import { pollUntil } from '../../common/poll.js'
import { toDiskError } from '../../common/process/run-tool.js'
import { vmError } from '../../errors.js'
import type { Session } from '../session/session.js'

/** Polling interval of the migration status, in milliseconds. */
const POLL_MS = 2

/**
 * Saves the state of a guest to a new file, through a socket of withvm, because the sandboxed QEMU
 * may neither start programs nor open files. After an error, the guest can continue.
 *
 * @throws {InfrastructureError} QMP_FAILED when QEMU refuses or fails, or does not complete in
 *   time; NO_SPACE.
 */
export async function migrateToFile(
  { qmp }: Session,
  listener: UnixListener,
  path: string,
  wait: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const accepted = listener.accept(wait)
  accepted.catch(() => {})
  await qmp.execute('migrate', { uri: `unix:${listener.path}` }, wait)
  const socket = await accepted
  try {
    const written = finished(socket.pipe(createWriteStream(path, { mode: 0o600, flags: 'wx' })))
    written.catch(() => {})
    const isSaved = async () => {
      const { status, 'error-desc': reason = String(status) } = await qmp.execute('query-migrate', {}, wait)
      if (status === 'failed' || status === 'cancelled') throw notSavedError(reason)
      return status === 'completed' ? true : undefined
    }
    const completed = pollUntil(isSaved, { intervalMs: POLL_MS, ...wait }).then((isDone) => {
      if (!isDone) throw notSavedError(`not complete after ${formatDuration(wait.timeoutMs)}`)
    })
    await Promise.all([completed, raceSignal(written, wait.signal)])
  } catch (error) {
    socket.destroy()
    await qmp.execute('migrate_cancel').catch(() => {}) // QEMU has ended
    throw toDiskError(error, 'saving the state of a guest')
  }
}

function notSavedError(got: string) {
  return vmError('QMP_FAILED', {
    summary: 'QEMU did not save the state of this guest.',
    got,
    hint: 'Check the free space and the load of this host, then retry.',
  })
}
