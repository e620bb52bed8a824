import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { GuestAgent } from '../../channel/agent/guest-agent.js'
import {
  type ClockRate,
  type ClockReading,
  compareClocks,
  correctFrequency,
  isClockRight,
  measureClockRate,
  readGuestClock,
} from '../../channel/agent/guest-clock.js'
import { raceSignal } from '../../common/deadline.js'
import { formatDuration } from '../../common/duration.js'
import { pollUntil } from '../../common/poll.js'
import { VMError, vmError } from '../../errors.js'
import { rememberTscKhz } from '../../host/tsc-frequency.js'
import { PARKED } from '../../provisioning/guest-identity.js'
import { isPc } from '../../spec/architectures.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { stageDeadlineMs } from './readiness.js'
import { ignoreShared } from './restore-state.js'

const PARK = '/usr/lib/withvm/park'
/** How often a guest agent that does not answer is asked to park the guest. */
const PARK_TRIES = 3
/** How long a guest agent that was silent may take to answer again, and any agent to read a clock, milliseconds. */
const AGENT_MS = 60_000
/** The state of the devices is small; a host whose disk is busy may take a while. */
const SAVE_MS = 60_000
/** How often QEMU is asked how far it is, milliseconds. */
const POLL_MS = 5
/** How exactly a wrong clock is measured, so that the next boot can be told the right frequency, and for how long at most. */
const EXACT = 0.005
const MEASURE_MS = 15_000
/** What QEMU says of a device or a setting that cannot be saved, however often it is tried. */
const NEVER_SAVED = /non-migratable|blocked|not support|unsupported|not allowed|disabled/i

/**
 * Leaves a guest as each of its clones is to begin, and saves the state of its devices. Its RAM is in its file then, its disk
 * in its overlay; the guest itself has ended.
 *
 * @throws {UsageError} SAVE_UNSUPPORTED when a device of this machine cannot be saved.
 * @throws {GuestError} AGENT_UNAVAILABLE, IDENTITY_AGENT_SILENT when the guest does not come to rest.
 * @throws {GuestError} GUEST_CLOCK_WRONG when its clock is more than 2 % too fast or too slow.
 * @throws {InfrastructureError} QMP_FAILED when the state is not saved in time.
 */
export async function saveGuest(
  machine: Machine,
  session: Session,
  options: { readonly statePath: string; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const { failure } = session.watch
  const signal = options.signal === undefined ? failure : AbortSignal.any([options.signal, failure])
  const wait = { timeoutMs: AGENT_MS, signal }
  const since = await readGuestClock(machine.agent, wait)
  const guestKhz = await parkGuest(machine, signal)
  const rate = await measureClockRate(machine.agent, since, wait)
  const isMeasurable = isPc(machine.spec.arch) && machine.host.accelerator === 'tcg'
  const isWrong = isClockRight(rate) === false
  const measured = isWrong ? await measureExactly(machine.agent, since, wait) : rate
  const khz = isMeasurable && guestKhz !== undefined ? correctFrequency(guestKhz, measured) : undefined
  if (khz !== undefined) await rememberTscKhz(khz)
  if (isWrong) throw wrongClock(machine.spec.name, measured.middle)
  await saveState(machine, session, options.statePath, signal)
  await session.stop('orderly')
}

/**
 * Waits until the guest is at rest. An agent that does not answer in time is asked again; a guest that was asked twice parks
 * once.
 *
 * @returns the frequency that the guest's kernel takes its time-stamp counter to have, if it tells.
 */
async function parkGuest(machine: Machine, signal: AbortSignal): Promise<number | undefined> {
  const { agent, identityAgent, spec } = machine
  const parked = identityAgent.hear(PARKED, {
    timeoutMs: stageDeadlineMs(machine, 'init') + AGENT_MS,
    signal,
  })
  parked.catch(() => {})
  const mark = `/run/withvm-parks-${randomBytes(4).toString('hex')}`
  const readKhz = `dmesg | sed -n 's/.*tsc: .* \\([0-9.]*\\) MHz.*/\\1/p'`
  const command = `${readKhz}; mkdir ${mark} 2>/dev/null || exit 0; setsid ${PARK} </dev/null >/dev/null 2>&1 &`
  for (let tries = 1; ; tries++) {
    try {
      const { stdout } = await agent.exec(command, { signal })
      await parked
      const khz = Number(stdout.trim().split('\n').at(-1)) * 1000
      return khz > 0 ? khz : undefined
    } catch (error) {
      signal.throwIfAborted()
      if (!isSilence(error) || tries === PARK_TRIES) throw error
      machine.log(
        `the guest agent of '${spec.name}' did not answer while its template was saved: trying again.`,
      )
      await agent.ping({ timeoutMs: AGENT_MS, signal })
    }
  }
}

function measureExactly(
  agent: GuestAgent,
  since: ClockReading,
  wait: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<ClockRate> {
  const measure = async () => {
    const rate = compareClocks(since, await readGuestClock(agent, wait))
    const isExact = rate.most < rate.least * (1 + EXACT)
    return isExact || performance.now() - since.afterMs > MEASURE_MS ? rate : undefined
  }
  return pollUntil(measure, { intervalMs: 100, signal: wait.signal })
}

function isSilence(error: unknown): boolean {
  return error instanceof VMError && error.code === 'AGENT_UNAVAILABLE'
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
    throw error instanceof VMError && NEVER_SAVED.test(error.details.got ?? '')
      ? refused(error.details.got ?? '')
      : error
  })
  const socket = await accepted
  const written = finished(socket.pipe(createWriteStream(path, { mode: 0o600 })))
  written.catch(() => {})
  const timeout = AbortSignal.timeout(SAVE_MS)
  await pollUntil(
    async () => {
      if (timeout.aborted) throw notSaved(`not complete after ${formatDuration(SAVE_MS)}`)
      const { status, 'error-desc': reason = String(status) } = await qmp.execute('query-migrate', {}, wait)
      if (status === 'failed' || status === 'cancelled')
        throw NEVER_SAVED.test(reason) ? refused(reason) : notSaved(reason)
      return status === 'completed' ? true : undefined
    },
    { intervalMs: POLL_MS, signal },
  )
  await raceSignal(written, signal)
}

function refused(got: string): VMError {
  return vmError('SAVE_UNSUPPORTED', {
    summary: 'QEMU cannot save the state of this machine.',
    got,
    hint: "Leave out the device that QEMU names, or set `start: 'cold'` to boot this guest each time.",
  })
}

function notSaved(got: string): VMError {
  return vmError('QMP_FAILED', {
    summary: 'QEMU did not save the state of this machine.',
    got,
    hint: 'Check the free space and the load of this host. The next guest tries again.',
  })
}

function wrongClock(name: string, rate: number): VMError {
  return vmError('GUEST_CLOCK_WRONG', {
    summary: `The clock of guest '${name}' runs at ${rate.toPrecision(3)} times the speed of the host's.`,
    expected: 'a difference of at most 2 %',
    got: `${(Math.abs(rate - 1) * 100).toPrecision(3)} % too ${rate > 1 ? 'fast' : 'slow'}`,
    hint: 'Run fewer guests at a time: the guest kernel measures its clock wrongly on a busy host. Remove `tsc_early_khz=` from `append` if it is there.',
  })
}
