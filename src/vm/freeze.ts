import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import { raceSignal } from '../common/deadline.js'
import { pollUntil } from '../common/poll.js'
import { vmError } from '../errors.js'
import { PARKED } from '../image/guest-identity.js'
import type { Machine } from './machine.js'
import { stageDeadlineMs } from './readiness.js'
import type { Session } from './session.js'
import { ignoreShared } from './thaw.js'

const PARK = '/usr/lib/withvm/park'
/** The state of the devices is small; a host whose disk is busy may take a while. */
const SAVE_MS = 60_000
/** How often QEMU is asked how far it is, milliseconds. */
const POLL_MS = 5

/**
 * Leaves a guest as each of its clones is to begin, and saves the state of its devices. Its RAM is in its file then, its disk
 * in its overlay; the guest itself has ended.
 *
 * @throws {UsageError} FREEZE_REFUSED when a device of this machine cannot be saved.
 * @throws {GuestError} AGENT_UNAVAILABLE, RESIDENT_SILENT when the guest does not come to rest.
 */
export async function freezeGuest(
  machine: Machine,
  session: Session,
  options: { readonly statePath: string; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const { failure } = session.watch
  const signal = options.signal === undefined ? failure : AbortSignal.any([options.signal, failure])
  const parked = machine.resident.hear(PARKED, { timeoutMs: stageDeadlineMs(machine, 'init'), signal })
  parked.catch(() => {})
  await machine.agent.exec(`setsid ${PARK} </dev/null >/dev/null 2>&1 &`, { signal })
  await parked
  await saveState(machine, session, options.statePath, signal)
  await session.stop('orderly')
}

/** QEMU connects to a socket of ours and writes to it: it may neither start a program nor be given a file to write to. */
async function saveState(
  { stateListener: listener }: Machine,
  { qmp }: Session,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  if (listener === undefined) throw new TypeError('a guest that is no template cannot be frozen')
  const wait = { timeoutMs: SAVE_MS, signal }
  await qmp.execute('migrate-set-capabilities', ignoreShared(true), wait)
  const accepted = listener.accept(wait)
  accepted.catch(() => {})
  await qmp.execute('migrate', { uri: `unix:${listener.path}` }, wait).catch((error: unknown) => {
    throw refused(error)
  })
  const socket = await accepted
  const written = finished(socket.pipe(createWriteStream(path, { mode: 0o600 })))
  written.catch(() => {})
  await pollUntil(
    async () => {
      const { status, 'error-desc': reason } = await qmp.execute('query-migrate', {}, wait)
      if (status === 'failed' || status === 'cancelled') throw refused(reason ?? status)
      return status === 'completed' ? true : undefined
    },
    { intervalMs: POLL_MS, signal: AbortSignal.any([signal, AbortSignal.timeout(SAVE_MS)]) },
  )
  await raceSignal(written, signal)
}

function refused(reason: unknown) {
  const got = reason instanceof Error ? reason.message : String(reason)
  return vmError('FREEZE_REFUSED', {
    summary: 'QEMU cannot save the state of this machine.',
    got,
    hint: "leave out the device that QEMU names, or boot this guest anew each time with start: 'cold'.",
  })
}
